import { Alert, Button, Group, Skeleton, Stack, Text } from '@mantine/core'
import { IconInfoCircle, IconPlus, IconServer } from '@tabler/icons-react'
import { useCallback, useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { allOf } from '../shell/all-of.ts'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Notice } from '../shell/notice.tsx'
import { Section } from '../shell/section.tsx'
import { useLoad } from '../shell/use-load.ts'
import { EnrolDialog } from './enrol-dialog.tsx'
import { JoinTokenList } from './join-token-list.tsx'
import { loadMachines, type Machine } from './machine.ts'
import { MachineItem } from './machine-item.tsx'
import { RevokeDialog } from './revoke-dialog.tsx'
import { TakeBackDialog } from './take-back-dialog.tsx'

/** What a person is about to do, with which machine; enrolling needs none. */
type Doing =
  | { readonly what: 'enrol'; readonly machine: Machine | undefined }
  | { readonly what: 'revoke' | 'take_back'; readonly machine: Machine }

/** The workers and services of the platform, their certificates, and the tokens that new ones join with. */
export function Machines({ isManaged }: { isManaged: boolean }) {
  const { rap } = useAuth()
  const { value, failure, reload } = useLoad(useCallback(() => loadMachines(rap), [rap]))
  const tokens = useLoad(
    useCallback(
      async () => (isManaged ? await allOf(options => rap.joinTokens.list(options)) : undefined),
      [rap, isManaged],
    ),
  )
  const [doing, setDoing] = useState<Doing>()
  const close = () => setDoing(undefined)
  const reloadAll = () => {
    reload()
    tokens.reload()
  }
  const enrol = (
    <Button
      leftSection={<IconPlus size={16} aria-hidden />}
      onClick={() => setDoing({ what: 'enrol', machine: undefined })}
    >
      Enrol a machine
    </Button>
  )
  return (
    <Stack>
      {!isManaged && (
        <Alert icon={<IconInfoCircle aria-hidden />} title="Certificates come from elsewhere">
          This platform has no certificate authority of its own, so machines are not enrolled here: they bring their
          certificates along. Whoever announces itself with one is in this list, and can be revoked.
        </Alert>
      )}
      {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
      {failure === undefined && value === undefined && <Skeleton height={240} aria-label="Loading" />}
      {value !== undefined && value.machines.length === 0 && (
        <Notice icon={<IconServer aria-hidden />} title="No machine yet" action={isManaged && enrol}>
          {isManaged
            ? 'Register a worker by the names that clients will call it, and give it the join token.'
            : 'A worker is listed here once it has announced itself.'}
        </Notice>
      )}
      {value !== undefined && value.machines.length > 0 && (
        <Section
          title="Workers and services"
          explanation={
            isManaged
              ? 'Who may hold a certificate of the platform, under which names, and until when the newest one lasts. It is renewed by itself.'
              : 'Who has announced itself.'
          }
        >
          {isManaged && <Group>{enrol}</Group>}
          <Stack component="ul" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
            {value.machines.map(machine => (
              <MachineItem
                key={machine.key}
                machine={machine}
                onEnrol={isManaged ? () => setDoing({ what: 'enrol', machine }) : undefined}
                onRevoke={() => setDoing({ what: 'revoke', machine })}
                onTakeBack={() => setDoing({ what: 'take_back', machine })}
              />
            ))}
          </Stack>
          {value.isCut && (
            <Text size="sm" c="dimmed">
              There are more machines than this page lists; the API has them all.
            </Text>
          )}
        </Section>
      )}
      {isManaged && <JoinTokenList tokens={tokens.value?.items} failure={tokens.failure} onChanged={reloadAll} />}
      {doing?.what === 'enrol' && <EnrolDialog machine={doing.machine} onClose={close} onChanged={reloadAll} />}
      {doing?.what === 'revoke' && <RevokeDialog machine={doing.machine} onClose={close} onChanged={reloadAll} />}
      {doing?.what === 'take_back' && <TakeBackDialog machine={doing.machine} onClose={close} onChanged={reloadAll} />}
    </Stack>
  )
}
