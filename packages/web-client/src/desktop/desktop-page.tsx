import { Box, Center, Loader, Stack, Text, VisuallyHidden } from '@mantine/core'
import { useDisclosure, useDocumentTitle } from '@mantine/hooks'
import type { Resource } from '@rap/client-sdk'
import { useCallback, useEffect, useRef, useState } from 'react'
import { useLocation } from 'wouter'
import { useAuth } from '../auth/auth.tsx'
import { useLoad } from '../shell/use-load.ts'
import { type DesktopState, type DesktopTarget, openDesktop, sizeOf } from './desktop-session.ts'
import { EndedPanel } from './ended-panel.tsx'
import { DropZone } from './files/drop-zone.tsx'
import { FilesPanel } from './files/files-panel.tsx'
import { useUploads } from './files/use-uploads.ts'
import { SCREEN_SCALE } from './iron.ts'
import { LimitNotice } from './policy/limit-notice.tsx'
import { explained, useLivePolicy } from './policy/live-policy.ts'
import { NewlyAllowed } from './policy/newly-allowed.tsx'
import { ViewOnly } from './policy/view-only.tsx'
import { keepShownSession, sessionBeforeReload } from './shown-session.ts'
import { Toolbar } from './toolbar.tsx'

/** How long the size of the page must rest before the desktop is asked to follow, in milliseconds. */
const RESIZE_REST_MS = 250

interface DesktopPageProps {
  readonly resourceId?: string
  readonly sessionId?: string
}

/** One desktop, over the whole page. */
export default function DesktopPage({ resourceId, sessionId }: DesktopPageProps) {
  const { rap } = useAuth()
  const [, navigate] = useLocation()
  const host = useRef<HTMLDivElement>(null)
  const [target, setTarget] = useState<DesktopTarget>(() => targetOf(resourceId, sessionId))
  const [state, setState] = useState<DesktopState>({ step: 'starting' })

  useEffect(() => {
    if (host.current === null) return
    const abort = new AbortController()
    void openDesktop(rap, target, { host: host.current, signal: abort.signal, show: setState })
    return () => abort.abort()
  }, [rap, target])

  useFollowSize(host, state)
  useShownSession(state)
  const resource = useResource(state, resourceId)
  useDocumentTitle(`${resource?.name ?? 'Desktop'} · RAP`)

  const connected = state.step === 'connected' ? state : undefined
  const policy = useLivePolicy(connected?.session, connected?.side)
  const sending = useUploads(connected?.side, policy)
  const [filesOpened, files] = useDisclosure(false)
  const mayUpload = policy?.channels.has('file_upload') === true

  const leave = useCallback(() => navigate('/'), [navigate])
  return (
    <Box style={{ display: 'flex', flexDirection: 'column', height: '100dvh', background: '#101113' }}>
      <Toolbar
        name={resource?.name ?? 'Desktop'}
        state={state}
        policy={policy}
        files={{
          sending: sending.list.filter(({ state }) => state !== 'failed').length,
          opened: filesOpened,
          toggle: files.toggle,
        }}
        onLeave={leave}
      />
      <ViewOnly policy={policy} />
      <NewlyAllowed
        policy={policy}
        onReconnect={() => connected && setTarget({ sessionId: connected.session.id, takeover: true })}
      />
      <VisuallyHidden role="status" aria-live="polite">
        {sending.said}
      </VisuallyHidden>
      <Box style={{ position: 'relative', flex: 1, minHeight: 0, overflow: 'hidden' }}>
        <Box
          ref={host}
          data-testid="desktop"
          style={{ position: 'absolute', inset: 0, visibility: state.step === 'connected' ? 'visible' : 'hidden' }}
        />
        {(state.step === 'starting' || state.step === 'connecting') && (
          <Center h="100%">
            <Stack align="center" gap="xs" role="status">
              <Loader color="gray" />
              <Text c="gray.4">
                {state.step === 'starting' ? 'Signing in to the desktop …' : 'Connecting to the desktop …'}
              </Text>
            </Stack>
          </Center>
        )}
        <LimitNotice side={connected?.side} host={host} />
        {connected !== undefined && policy !== undefined && filesOpened && (
          <FilesPanel side={connected.side} policy={policy} sending={sending} onClose={files.close} />
        )}
        <DropZone
          refusal={
            policy === undefined
              ? 'The desktop is not connected'
              : mayUpload
                ? undefined
                : explained('file_upload', policy)
          }
          onDrop={dropped => {
            sending.send(dropped)
            if (dropped.files.length > 0) files.open()
          }}
        />
        {state.step === 'ended' && (
          <EndedPanel
            ending={state.ending}
            target={target}
            resourceId={resourceId}
            filesWaiting={sending.waiting}
            onOpen={setTarget}
            onLeave={leave}
          />
        )}
      </Box>
    </Box>
  )
}

/** What the address asks for; after a reload the desktop that was shown. */
function targetOf(resourceId: string | undefined, sessionId: string | undefined): DesktopTarget {
  const before = sessionBeforeReload()
  if (before !== undefined) return { sessionId: before, takeover: true }
  return resourceId === undefined ? { sessionId: sessionId ?? '', takeover: false } : { resourceId }
}

/** Keeps the session for a reload, for as long as there is something to come back to. */
function useShownSession(state: DesktopState): void {
  useEffect(() => {
    if (state.step === 'connected') keepShownSession(state.session.id)
    else if (state.step === 'ended' && !state.ending.canResume && state.ending.code !== 'ERR_SESSION_ATTACHED')
      keepShownSession(undefined)
  }, [state])
}

/** The desktop follows the size of the page, once the page has come to rest. */
function useFollowSize(host: React.RefObject<HTMLDivElement | null>, state: DesktopState): void {
  const ui = state.step === 'connected' ? state.desktop.ui : undefined
  useEffect(() => {
    const element = host.current
    if (ui === undefined || element === null) return
    let timer: ReturnType<typeof setTimeout> | undefined
    let last = sizeOf(element)
    const observer = new ResizeObserver(() => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        const size = sizeOf(element)
        if (size.width === last.width && size.height === last.height) return
        last = size
        ui.resize(size.width, size.height)
        // The component stretches at once; fitted again, it keeps its shape until a target that can follow has followed.
        ui.setScale(SCREEN_SCALE.fit)
      }, RESIZE_REST_MS)
    })
    observer.observe(element)
    return () => {
      clearTimeout(timer)
      observer.disconnect()
    }
  }, [host, ui])
}

/** The resource of this page, for its name; a page opened by its session learns it from the session. */
function useResource(state: DesktopState, resourceId: string | undefined): Resource | undefined {
  const { rap } = useAuth()
  const id = resourceId ?? ('session' in state ? state.session?.record.resource_id : undefined)
  const load = useCallback(async () => (id === undefined ? undefined : await rap.resources.get(id)), [rap, id])
  return useLoad(load).value
}
