import { notifications } from '@mantine/notifications'
import type { Attachment, Session } from '@rap/client-sdk'
import {
  CHANNEL_WORDS,
  CHANNELS,
  type Channel,
  DEFAULT_LIMITS,
  explainChannel,
  type PolicyDecision,
  type SessionLimits,
} from '@rap/session-policy'
import { useEffect, useRef, useState } from 'react'
import { useAuth } from '../../auth/auth.tsx'
import type { ClipboardRules } from '../clipboard/desktop-clipboard.ts'
import type { SideConnection } from '../side-connection.ts'
import { useSide } from '../use-side.ts'

/** How often the policy is asked for where the worker does not tell of changes, in milliseconds. */
const ASK_MS = 10_000
/** How often it is asked for where the worker does: it tells what was taken away, and not what was given. */
const ASK_FOR_MORE_MS = 30_000

/** What the open desktop may do now. */
export interface LivePolicy {
  readonly channels: ReadonlySet<Channel>
  readonly limits: SessionLimits
  /** When the session is over, RFC 3339; null without a limit. */
  readonly endsAt: string | null
  /** Who decided what; undefined where the server did not say. */
  readonly decision: PolicyDecision | undefined
}

/** The policy of an attachment as it was made. */
function policyOf({ allowed_channels: allowed, limits, session_ends_at: endsAt }: Attachment): LivePolicy {
  const channels = new Set(CHANNELS.filter(channel => allowed.includes(channel)))
  return { channels, limits: limits ?? DEFAULT_LIMITS, endsAt: endsAt ?? null, decision: undefined }
}

/** The rules of the clipboard in a policy. */
export function rulesOf({ channels, limits }: Pick<LivePolicy, 'channels' | 'limits'>): ClipboardRules {
  return {
    toDesktop: channels.has('clipboard_client_to_server'),
    fromDesktop: channels.has('clipboard_server_to_client'),
    maxBytes: limits.clipboard_bytes,
  }
}

export function clipboardRulesOf(attachment: Attachment): ClipboardRules {
  return rulesOf(policyOf(attachment))
}

/** The policy of the open desktop, which an administrator may narrow meanwhile; the person is told what was taken away. */
export function useLivePolicy(session: Session | undefined, side: SideConnection | undefined): LivePolicy | undefined {
  const { rap } = useAuth()
  const [policy, setPolicy] = useState<LivePolicy>()
  const { step } = useSide(side)
  const known = useRef<ReadonlySet<Channel>>(undefined)

  useEffect(() => {
    known.current = undefined
    setPolicy(session && policyOf(session.attachment))
  }, [session])
  useEffect(() => {
    if (session === undefined) return
    let current = true
    let last = 0
    let told: readonly string[] | undefined
    const ask = async () => {
      const round = ++last
      const decision = await rap.policies.effective(session.record.resource_id).catch(() => undefined)
      if (!current || round !== last || (decision === undefined && told === undefined)) return
      setPolicy(before => before && { ...before, channels: leftOf(before, decision, told), decision })
    }
    void ask()
    if (side !== undefined) {
      side.onPolicy = ({ allowed_channels, limits, session_ends_at: endsAt }) => {
        told = allowed_channels
        setPolicy(before => before && { ...before, limits, endsAt })
        void ask()
      }
    }
    const isTold = step === 'open' && session.attachment.allowed_channels.includes('events')
    const timer = setInterval(ask, isTold ? ASK_FOR_MORE_MS : ASK_MS)
    // Whoever was told elsewhere that something is allowed now comes back to this page.
    window.addEventListener('focus', ask)
    return () => {
      current = false
      clearInterval(timer)
      window.removeEventListener('focus', ask)
    }
  }, [rap, session, side, step])

  // Each channel that went away is told once, by its name.
  useEffect(() => {
    const before = known.current
    known.current = policy?.channels
    if (before === undefined || policy === undefined) return
    for (const channel of before) {
      if (policy.channels.has(channel)) continue
      notifications.show({
        title: `${CHANNEL_WORDS[channel]} was just turned off`,
        message: explained(channel, policy),
        color: 'yellow',
        autoClose: 10_000,
      })
    }
  }, [policy])
  return policy
}

/** What is left of the channels: one that was taken away and given back comes with the next connection. */
function leftOf(
  before: LivePolicy,
  decision: PolicyDecision | undefined,
  told: readonly string[] | undefined,
): ReadonlySet<Channel> {
  const isLeft = (channel: Channel) =>
    decision?.channels[channel].allowed !== false && told?.includes(channel) !== false
  return new Set([...before.channels].filter(isLeft))
}

/** Why a channel is on or off, in a sentence. */
export function explained(channel: Channel, { channels, decision }: LivePolicy): string {
  const isOn = channels.has(channel)
  const said = decision?.channels[channel]
  if (said === undefined) return `${CHANNEL_WORDS[channel]} is ${isOn ? 'on' : 'off by policy'}.`
  if (said.allowed && !isOn) return `${CHANNEL_WORDS[channel]} was allowed after you connected: reconnect to use it.`
  return explainChannel(channel, said)
}
