import { Skeleton, Stack, Text, Title } from '@mantine/core'
import { useDocumentTitle } from '@mantine/hooks'
import { IconShieldLock } from '@tabler/icons-react'
import { useCallback } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Notice } from '../shell/notice.tsx'
import { Shell } from '../shell/shell.tsx'
import { useLoad } from '../shell/use-load.ts'
import { PolicyEditor } from './policy-editor.tsx'

/** What sessions of the organization may do. */
export function OrganizationPolicyPage() {
  useDocumentTitle('Policy · RAP')
  const { me, organizationId } = useAuth()
  const membership = me?.memberships.find(({ organization_id }) => organization_id === organizationId)
  const may = (permission: string) => membership?.permissions.includes(permission) === true
  return (
    <Shell>
      <Stack>
        <Title order={2}>Policy</Title>
        {organizationId !== undefined && may('policies.read') ? (
          <Policy key={organizationId} organizationId={organizationId} canManage={may('policies.manage')} />
        ) : (
          <Notice icon={<IconShieldLock aria-hidden />} title="This page is for administrators and auditors">
            What you may do on a desktop is shown there, under “What may I do here?”.
          </Notice>
        )}
      </Stack>
    </Shell>
  )
}

function Policy({ organizationId, canManage }: { organizationId: string; canManage: boolean }) {
  const { rap } = useAuth()
  const load = useCallback(() => rap.policies.organization(organizationId).get(), [rap, organizationId])
  const { value: policy, failure, reload } = useLoad(load)
  return (
    <>
      <Text>
        What a session may carry between a person and a desktop, for the whole organization. A desktop, and a person on
        a desktop, can have less than that, never more.
      </Text>
      {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
      {failure === undefined && policy === undefined && <Skeleton height={320} aria-label="Loading" />}
      {policy !== undefined && (
        <PolicyEditor
          key={policy.version}
          scope="organization"
          document={policy.document}
          above={{}}
          canManage={canManage}
          save={async document => {
            const policies = rap.policies.organization(organizationId)
            const { sessions_changed: sessions } =
              document === undefined
                ? await policies.delete({ version: policy.version })
                : await policies.put(document, { version: policy.version })
            return sessions
          }}
          onChanged={reload}
        />
      )}
    </>
  )
}
