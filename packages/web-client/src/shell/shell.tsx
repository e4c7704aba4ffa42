import { AppShell, Avatar, Container, Group, Menu, Select, Text, Title, UnstyledButton } from '@mantine/core'
import { IconDeviceDesktop, IconKey, IconLogout, IconShieldLock, IconShieldQuestion } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import { Link } from 'wouter'
import { useAuth } from '../auth/auth.tsx'

/** The frame of every page but the desktop: the name, the organization, the person. */
export function Shell({ children }: { children: ReactNode }) {
  const { me, organizationId, chooseOrganization, logout } = useAuth()
  const memberships = me?.memberships ?? []
  const membership = memberships.find(({ organization_id }) => organization_id === organizationId)
  return (
    <AppShell header={{ height: 60 }} padding="md">
      <AppShell.Header>
        <Container size="lg" h="100%">
          <Group h="100%" justify="space-between" wrap="nowrap">
            <Group gap="xs" wrap="nowrap">
              <IconDeviceDesktop aria-hidden />
              <Title order={1} size="h4">
                RAP
              </Title>
            </Group>
            <Group wrap="nowrap">
              {memberships.length > 1 && (
                <Select
                  aria-label="Organization"
                  data={memberships.map(({ organization_id, organization_name }) => ({
                    value: organization_id,
                    label: organization_name ?? organization_id,
                  }))}
                  value={organizationId ?? null}
                  onChange={id => id !== null && chooseOrganization(id)}
                  allowDeselect={false}
                />
              )}
              <Menu position="bottom-end">
                <Menu.Target>
                  <UnstyledButton aria-label="Account">
                    <Group gap="xs" wrap="nowrap">
                      <Avatar size="sm" name={me?.email ?? ''} color="initials" />
                      <Text size="sm" visibleFrom="xs">
                        {me?.email}
                      </Text>
                    </Group>
                  </UnstyledButton>
                </Menu.Target>
                <Menu.Dropdown>
                  <Menu.Item component={Link} href="/" leftSection={<IconDeviceDesktop size={16} aria-hidden />}>
                    Desktops
                  </Menu.Item>
                  {membership?.permissions.includes('policies.read') && (
                    <Menu.Item
                      component={Link}
                      href="/policy"
                      leftSection={<IconShieldQuestion size={16} aria-hidden />}
                    >
                      Policy
                    </Menu.Item>
                  )}
                  {me?.platform_role === 'owner' && (
                    <Menu.Item component={Link} href="/secret-keys" leftSection={<IconKey size={16} aria-hidden />}>
                      Secret keys
                    </Menu.Item>
                  )}
                  {me?.platform_role === 'owner' && (
                    <Menu.Item component={Link} href="/trust" leftSection={<IconShieldLock size={16} aria-hidden />}>
                      Trust
                    </Menu.Item>
                  )}
                  <Menu.Item leftSection={<IconLogout size={16} aria-hidden />} onClick={() => void logout()}>
                    Sign out
                  </Menu.Item>
                </Menu.Dropdown>
              </Menu>
            </Group>
          </Group>
        </Container>
      </AppShell.Header>
      <AppShell.Main>
        <Container size="lg">{children}</Container>
      </AppShell.Main>
    </AppShell>
  )
}
