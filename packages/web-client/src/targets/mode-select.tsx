import { Alert, Select, Stack, Text } from '@mantine/core'
import { IconAlertTriangle } from '@tabler/icons-react'
import { useState } from 'react'
import { type Explanation, explain, useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { MODES, modeLabel } from './modes.ts'

interface ModeSelectProps {
  readonly resourceId: string
  readonly mode: string
  onChanged(): void
}

/** How the desktop proves who it is. */
export function ModeSelect({ resourceId, mode, onChanged }: ModeSelectProps) {
  const { rap } = useAuth()
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<Explanation>()
  const change = async (value: string | null) => {
    if (value === null || value === mode) return
    setBusy(true)
    setFailure(undefined)
    try {
      await rap.resources.update(resourceId, { metadata: { certificate_verification_mode: value } })
      onChanged()
    } catch (error) {
      setFailure(explain(error))
    } finally {
      setBusy(false)
    }
  }
  const known = MODES.map(({ value, label }) => ({ value: value as string, label: label as string }))
  const data = known.some(({ value }) => value === mode) ? known : [...known, { value: mode, label: modeLabel(mode) }]
  return (
    <Stack gap="xs">
      <Select
        label="What vouches for it"
        description={MODES.find(({ value }) => value === mode)?.description ?? 'Nothing does.'}
        data={data}
        value={mode}
        allowDeselect={false}
        disabled={busy}
        onChange={value => void change(value)}
        maw={420}
      />
      {failure !== undefined && <FailureAlert failure={failure} />}
      {mode === 'insecure' && (
        <Alert color="red" icon={<IconAlertTriangle aria-hidden />} title="Anybody can be this desktop">
          <Text size="sm">
            With Network Level Authentication the password is still not delegated to an impostor, but the account’s name
            and an answer to guess the password against are. Without it, the password itself is. This mode is for tests
            alone, and refused in production.
          </Text>
        </Alert>
      )}
    </Stack>
  )
}
