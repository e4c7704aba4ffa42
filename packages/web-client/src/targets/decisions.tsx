import { Alert, Checkbox, Radio, Stack, Text, Textarea } from '@mantine/core'
import type { TargetCertificate, TargetIdentity, TargetPin, TargetPinKind } from '@rap/client-sdk'
import { IconFingerprint } from '@tabler/icons-react'
import { useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { ChangeDialog } from '../shell/change-dialog.tsx'
import { explainTarget, plainFingerprint } from './explain-target.ts'
import { Fingerprint } from './fingerprint.tsx'

/** What a person has begun to decide. */
export type Decision =
  | { readonly kind: 'approve'; readonly certificate: TargetCertificate }
  | { readonly kind: 'reject'; readonly certificate: TargetCertificate }
  | { readonly kind: 'dismiss'; readonly fingerprint: string }
  | { readonly kind: 'stage' }
  | { readonly kind: 'withdraw'; readonly pin: TargetPin; readonly state: 'approved' | 'staged' | 'rejected' }
  | { readonly kind: 'enrol' }
  | { readonly kind: 'remove_ca' }

interface DecisionProps {
  readonly resourceId: string
  readonly identity: TargetIdentity
  onClose(): void
  onChanged(): void
}

/** The dialog of a decision. */
export function DecisionDialog({ decision, ...rest }: DecisionProps & { decision: Decision }) {
  switch (decision.kind) {
    case 'approve':
      return <Approve {...rest} certificate={decision.certificate} />
    case 'reject':
      return <Reject {...rest} certificate={decision.certificate} />
    case 'dismiss':
      return <Dismiss {...rest} fingerprint={decision.fingerprint} />
    case 'stage':
      return <Stage {...rest} />
    case 'withdraw':
      return <Withdraw {...rest} pin={decision.pin} state={decision.state} />
    case 'enrol':
      return <Enrol {...rest} />
    case 'remove_ca':
      return <RemoveCa {...rest} />
  }
}

function Approve({
  resourceId,
  identity,
  certificate,
  onClose,
  onChanged,
}: DecisionProps & { certificate: TargetCertificate }) {
  const { rap } = useAuth()
  const [kind, setKind] = useState<TargetPinKind>('certificate')
  const [keepOthers, setKeepOthers] = useState(false)
  const { fingerprint_sha256: fingerprint, spki_sha256: spki } = certificate
  return (
    <ChangeDialog
      title="Approve this certificate?"
      action="It is the same: approve"
      change={() => rap.resources.targetIdentity.approve(resourceId, fingerprint, { kind, keepOthers })}
      explain={explainTarget}
      {...{ onClose, onChanged }}
    >
      <Compare />
      <Fingerprint value={fingerprint} />
      <WhatIsPinned kind={kind} onChange={setKind} />
      {kind === 'public_key' && <Fingerprint value={spki} label="fingerprint of the public key" />}
      {identity.approved.length > 0 && (
        <KeepOthers checked={keepOthers} onChange={setKeepOthers} count={identity.approved.length} />
      )}
      {identity.mode !== 'pinned' && (
        <Text size="sm">
          From then on this desktop is pinned: only approved certificates count, and no longer what an authority vouches
          for.
        </Text>
      )}
    </ChangeDialog>
  )
}

/** Approving what the network showed, without another look, would approve whoever stands in the middle. */
function Compare() {
  return (
    <Alert icon={<IconFingerprint aria-hidden />} title="Compare the fingerprint first" color="blue">
      <Text size="sm">
        Read it on the machine itself, at its console, not through this network. In PowerShell, as an administrator:
      </Text>
      <Text size="xs" ff="monospace" mt="xs" style={{ overflowWrap: 'anywhere' }}>
        {
          "Get-ChildItem 'Cert:\\LocalMachine\\Remote Desktop' | ForEach-Object { [BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($_.RawData)) }"
        }
      </Text>
    </Alert>
  )
}

function WhatIsPinned({ kind, onChange }: { kind: TargetPinKind; onChange(kind: TargetPinKind): void }) {
  return (
    <Radio.Group label="What is pinned" value={kind} onChange={value => onChange(value as TargetPinKind)}>
      <Stack gap="xs" mt="xs">
        <Radio value="certificate" label="The certificate" description="A renewed one has to be staged or approved." />
        <Radio
          value="public_key"
          label="Its public key"
          description="A renewal that keeps the key goes on without a decision."
        />
      </Stack>
    </Radio.Group>
  )
}

function KeepOthers({
  checked,
  onChange,
  count,
}: {
  checked: boolean
  onChange(checked: boolean): void
  count?: number
}) {
  return (
    <Checkbox
      label={
        count === undefined || count === 1
          ? 'Keep what is approved already'
          : `Keep the ${count} that are approved already`
      }
      description="Only where several machines answer at this address. Otherwise what was approved is retired."
      checked={checked}
      onChange={event => onChange(event.currentTarget.checked)}
    />
  )
}

function Reject({ resourceId, certificate, onClose, onChanged }: DecisionProps & { certificate: TargetCertificate }) {
  const { rap } = useAuth()
  return (
    <ChangeDialog
      title="Reject this certificate?"
      action="Reject it"
      color="red"
      change={() => rap.resources.targetIdentity.reject(resourceId, certificate.fingerprint_sha256)}
      explain={explainTarget}
      {...{ onClose, onChanged }}
    >
      <Fingerprint value={certificate.fingerprint_sha256} />
      <Text size="sm">
        It is refused from now on, whatever vouches for it. An alarm that it raised stays until it is dismissed.
      </Text>
    </ChangeDialog>
  )
}

function Dismiss({ resourceId, fingerprint, onClose, onChanged }: DecisionProps & { fingerprint: string }) {
  const { rap } = useAuth()
  return (
    <ChangeDialog
      title="Dismiss the alarm?"
      action="Dismiss the alarm"
      color="red"
      change={() => rap.resources.targetIdentity.dismissAlarm(resourceId, fingerprint)}
      explain={explainTarget}
      {...{ onClose, onChanged }}
    >
      <Text size="sm">
        Sessions start again on what is approved. This certificate stays refused; if it shows up once more, the alarm is
        back:
      </Text>
      <Fingerprint value={fingerprint} />
      <Text size="sm">Dismiss it once you know which machine answered, and why.</Text>
    </ChangeDialog>
  )
}

function Stage({ resourceId, identity, onClose, onChanged }: DecisionProps) {
  const { rap } = useAuth()
  const [kind, setKind] = useState<TargetPinKind>('certificate')
  const [text, setText] = useState('')
  const [problem, setProblem] = useState<string>()
  const [keepOthers, setKeepOthers] = useState(false)
  const change = () => {
    const sha256 = plainFingerprint(text)
    setProblem(sha256 === undefined ? 'Enter the 64 hexadecimal digits of a SHA-256 fingerprint' : undefined)
    return sha256 && rap.resources.targetIdentity.stage(resourceId, { sha256, kind, keepOthers })
  }
  return (
    <ChangeDialog
      title="Stage the next certificate"
      action="Stage it"
      change={() => change() || undefined}
      explain={explainTarget}
      {...{ onClose, onChanged }}
    >
      <Text size="sm">
        Before a renewal: enter the fingerprint of the new certificate, or of its key. Both are accepted until it shows
        up; then it is the approved one by itself.
      </Text>
      <WhatIsPinned kind={kind} onChange={setKind} />
      <Textarea
        label={
          kind === 'certificate' ? 'SHA-256 of the certificate' : 'SHA-256 of the public key (SubjectPublicKeyInfo)'
        }
        placeholder="AA:BB:…"
        autosize
        value={text}
        onChange={event => {
          setText(event.currentTarget.value)
          setProblem(undefined)
        }}
        error={problem}
      />
      {identity.approved.length > 0 && (
        <KeepOthers checked={keepOthers} onChange={setKeepOthers} count={identity.approved.length} />
      )}
    </ChangeDialog>
  )
}

const CONSEQUENCES = {
  approved: 'It is no longer accepted. Where it was the only one, no session starts before another is approved.',
  staged: 'If it shows up, it is refused.',
  rejected: 'It counts as one that was only seen.',
} as const

function Withdraw({
  resourceId,
  pin,
  state,
  onClose,
  onChanged,
}: DecisionProps & { pin: TargetPin; state: keyof typeof CONSEQUENCES }) {
  const { rap } = useAuth()
  return (
    <ChangeDialog
      title={`Withdraw the ${state} ${pin.kind === 'certificate' ? 'certificate' : 'public key'}?`}
      action="Withdraw it"
      color="red"
      change={() => rap.resources.targetIdentity.withdraw(resourceId, pin)}
      explain={explainTarget}
      {...{ onClose, onChanged }}
    >
      <Fingerprint value={pin.sha256} />
      <Text size="sm">{CONSEQUENCES[state]}</Text>
    </ChangeDialog>
  )
}

function Enrol({ resourceId, onClose, onChanged }: DecisionProps) {
  const { rap } = useAuth()
  const [pem, setPem] = useState('')
  const [problem, setProblem] = useState<string>()
  const change = () => {
    const isThere = pem.includes('-----BEGIN CERTIFICATE-----')
    setProblem(
      isThere ? undefined : 'Paste the certificate of the authority, beginning with -----BEGIN CERTIFICATE-----',
    )
    return isThere ? rap.resources.targetIdentity.enrolCa(resourceId, pem.trim()) : undefined
  }
  return (
    <ChangeDialog
      title="Enrol an authority"
      action="Enrol it"
      change={change}
      explain={explainTarget}
      {...{ onClose, onChanged }}
    >
      <Text size="sm">
        In the mode “Certificate authority” only this authority counts for this desktop then, and not those of the
        system. The issuing authority alone is the narrowest choice; up to three certificates.
      </Text>
      <Textarea
        label="Certificates in PEM"
        placeholder="-----BEGIN CERTIFICATE-----"
        autosize
        minRows={4}
        maxRows={12}
        styles={{ input: { fontFamily: 'monospace' } }}
        value={pem}
        onChange={event => {
          setPem(event.currentTarget.value)
          setProblem(undefined)
        }}
        error={problem}
      />
    </ChangeDialog>
  )
}

function RemoveCa({ resourceId, onClose, onChanged }: DecisionProps) {
  const { rap } = useAuth()
  return (
    <ChangeDialog
      title="Remove the authority?"
      action="Remove it"
      color="red"
      change={() => rap.resources.targetIdentity.removeCa(resourceId)}
      explain={explainTarget}
      {...{ onClose, onChanged }}
    >
      <Text size="sm">In the mode “Certificate authority” the authorities of the worker’s system count again.</Text>
    </ChangeDialog>
  )
}
