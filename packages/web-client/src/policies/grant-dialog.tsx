import { Modal, Select, Stack, Text } from '@mantine/core'
import type { Grant, Member } from '@rap/client-sdk'
import type { PolicyLayers } from '@rap/session-policy'
import { useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { useDialog } from '../shell/use-dialog.ts'
import { PolicyEditor } from './policy-editor.tsx'

interface GrantDialogProps {
  readonly resourceId: string
  /** Undefined for a new one. */
  readonly grant: Grant | undefined
  /** Whom a new one can be for. */
  readonly members: readonly Member[]
  readonly above: PolicyLayers
  readonly canManage: boolean
  onClosed(): void
  onChanged(): void
}

/** What one person may do on a desktop. */
export function GrantDialog({ resourceId, grant, members, above, canManage, onClosed, onChanged }: GrantDialogProps) {
  const { rap } = useAuth()
  const { close, modal } = useDialog(onClosed)
  const [chosen, setChosen] = useState<string | null>(null)
  const userId = grant?.user_id ?? chosen
  return (
    <Modal
      {...modal}
      size="xl"
      title={grant === undefined ? 'Narrow it for a person' : grant.display_name || grant.email}
    >
      <Stack data-testid="grant-dialog">
        {grant === undefined && (
          <Select
            label="Person"
            searchable
            placeholder="Choose a member"
            nothingFoundMessage="Nobody of that name without a policy of their own here"
            data={members.map(({ user_id, display_name, email }) => ({
              value: user_id,
              label: display_name === '' || display_name === email ? email : `${display_name} (${email})`,
            }))}
            value={chosen}
            onChange={setChosen}
          />
        )}
        {userId === null ? (
          <Text size="sm" c="dimmed">
            Members may use a desktop by their role; here they can be given less, never more.
          </Text>
        ) : (
          <PolicyEditor
            key={userId}
            scope="grant"
            document={grant?.document ?? {}}
            above={above}
            canManage={canManage}
            save={async document => {
              const grants = rap.policies.grants(resourceId)
              const { sessions_changed: sessions } =
                document === undefined
                  ? await grants.delete(userId, { version: grant?.version ?? 0 })
                  : await grants.put(userId, document, { version: grant?.version ?? 0 })
              return sessions
            }}
            onChanged={() => {
              onChanged()
              close()
            }}
          />
        )}
      </Stack>
    </Modal>
  )
}
