import { Button, Group, Select, Text } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import type { MasterKeyList } from '@rap/client-sdk'
import { useState } from 'react'
import { type Explanation, useAuth } from '../auth/auth.tsx'
import { Section } from '../shell/section.tsx'
import { explainKey } from './explain-key.ts'

interface RotateStepProps {
  readonly list: MasterKeyList
  onChanged(): void
}

/** Chooses the key that wraps what is new. */
export function RotateStep({ list: { items, sources, instances }, onChanged }: RotateStepProps) {
  const { rap } = useAuth()
  const [name, setName] = useState<string | null>(null)
  const [failure, setFailure] = useState<Explanation>()
  const [busy, setBusy] = useState(false)
  const active = items.find(({ state }) => state === 'active')
  const chosen = sources.find(source => source.name === name)
  const missing = instances.filter(instance => name !== null && !instance.sources.includes(name))

  const rotate = async (source: string) => {
    setBusy(true)
    setFailure(undefined)
    try {
      const { active_key_id } = await rap.masterKeys.rotate(source)
      notifications.show({ message: `${active_key_id} wraps what is written from now on`, color: 'green' })
      setName(null)
    } catch (error) {
      setFailure(explainKey(error))
    }
    setBusy(false)
    onChanged()
  }

  return (
    <Section
      title="1. Rotate"
      explanation="Makes the newest key of a source the active one: it wraps what is written from now on, and what older keys have wrapped stays readable."
      failure={failure}
    >
      <Group align="end">
        <Select
          label="Key source"
          placeholder="Choose one"
          flex="1 1 14rem"
          maw={400}
          data={sources.map(source => ({
            value: source.name,
            label: source.name === active?.source ? `${source.name} (active now)` : source.name,
          }))}
          value={name}
          onChange={setName}
        />
        <Button disabled={name === null} loading={busy} onClick={() => name !== null && void rotate(name)}>
          Rotate
        </Button>
      </Group>
      {chosen !== undefined && chosen.health !== 'ok' && (
        <Text size="sm" c="red">
          {chosen.name}: {chosen.health}
        </Text>
      )}
      {missing.length > 0 && (
        <Text size="sm" c="red">
          Not every running resolver has its key yet: {missing.map(instance => instance.name).join(', ')}. They read
          their configuration again within seconds.
        </Text>
      )}
    </Section>
  )
}
