import { Skeleton, Stack, Text, Title } from '@mantine/core'
import type { Resource } from '@rap/client-sdk'
import { useCallback } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { useLoad } from '../shell/use-load.ts'
import { GrantList } from './grant-list.tsx'
import { PolicyEditor } from './policy-editor.tsx'

interface ResourcePolicySectionProps {
  readonly resource: Resource
  readonly canManage: boolean
}

/** What sessions on one desktop may do, for everybody and for single persons. */
export function ResourcePolicySection({ resource, canManage }: ResourcePolicySectionProps) {
  const { rap } = useAuth()
  const { id, organization_id: organizationId } = resource
  const load = useCallback(async () => {
    const [organization, own] = await Promise.all([
      rap.policies.organization(organizationId).get(),
      rap.policies.resource(id).get(),
    ])
    return { organization, own }
  }, [rap, id, organizationId])
  const { value, failure, reload } = useLoad(load)
  return (
    <Stack component="section" aria-labelledby="policy-title">
      <div>
        <Title order={3} id="policy-title">
          Policy
        </Title>
        <Text size="sm" c="dimmed">
          What sessions on this desktop may do. It can narrow the policy of the organization, never widen it.
        </Text>
      </div>
      {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
      {failure === undefined && value === undefined && <Skeleton height={160} aria-label="Loading" />}
      {value !== undefined && (
        <>
          <PolicyEditor
            key={value.own.version}
            scope="resource"
            document={value.own.document}
            above={{ organization: value.organization.document }}
            canManage={canManage}
            save={async document => {
              const policies = rap.policies.resource(id)
              const { sessions_changed: sessions } =
                document === undefined
                  ? await policies.delete({ version: value.own.version })
                  : await policies.put(document, { version: value.own.version })
              return sessions
            }}
            onChanged={reload}
          />
          <GrantList
            resource={resource}
            above={{ organization: value.organization.document, resource: value.own.document }}
            canManage={canManage}
          />
        </>
      )}
    </Stack>
  )
}
