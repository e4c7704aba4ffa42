import { Checkbox, Stack, Text } from '@mantine/core'
import { type ReactNode, useState } from 'react'
import { ChangeDialog } from '../shell/change-dialog.tsx'
import { explainTrust, stakeOf } from './explain-trust.ts'

interface StepDialogProps {
  readonly title: string
  readonly action: string
  readonly children: ReactNode
  readonly color?: string
  take(options: { force?: boolean }): Promise<unknown>
  onClose(): void
  onChanged(): void
}

/** Asks before a step; where it is refused for a reason that a person may override, says what is at stake and lets them. */
export function StepDialog({ take, children, ...rest }: StepDialogProps) {
  const [stake, setStake] = useState<string>()
  const [force, setForce] = useState(false)
  const change = async () => {
    try {
      await take(force ? { force } : {})
    } catch (error) {
      setStake(stakeOf(error))
      throw error
    }
  }
  return (
    <ChangeDialog {...rest} change={change} explain={explainTrust}>
      {children}
      {stake !== undefined && (
        <Stack gap="xs">
          <Text size="sm">{stake}</Text>
          <Checkbox
            label="Take the step all the same"
            checked={force}
            onChange={event => setForce(event.currentTarget.checked)}
          />
        </Stack>
      )}
    </ChangeDialog>
  )
}
