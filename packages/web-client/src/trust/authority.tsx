import { Code, Stack, Text } from '@mantine/core'
import type { PlatformCaStatus } from '@rap/client-sdk'
import { IconCertificate } from '@tabler/icons-react'
import { Notice } from '../shell/notice.tsx'
import { BundleList } from './bundle-list.tsx'
import { GenerationList } from './generation-list.tsx'
import { RotationSteps } from './rotation-steps.tsx'

/** The platform CA: its generations, its rotation and the bundles that clients hold. */
export function Authority({ status, onChanged }: { status: PlatformCaStatus; onChanged(): void }) {
  if (!status.managed) {
    return (
      <Notice icon={<IconCertificate aria-hidden />} title="Certificates come from elsewhere">
        This platform has no certificate authority of its own; clients are told of <Code>{status.bundle_ref}</Code>. An
        operator makes one with <Code>rap-pki init</Code>, or brings one along with <Code>rap-pki import</Code>.
      </Notice>
    )
  }
  return (
    <Stack>
      <Text size="sm">
        Clients are told of <Code>{status.bundle_ref}</Code> now.
      </Text>
      <GenerationList generations={status.generations} />
      <RotationSteps status={status} onChanged={onChanged} />
      <BundleList bundles={status.bundles} />
    </Stack>
  )
}
