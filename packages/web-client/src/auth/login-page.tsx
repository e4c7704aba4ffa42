import {
  Alert,
  Anchor,
  Button,
  Center,
  Group,
  Paper,
  PasswordInput,
  Stack,
  Text,
  TextInput,
  Title,
} from '@mantine/core'
import { useForm } from '@mantine/form'
import { IconAlertCircle, IconDeviceDesktop } from '@tabler/icons-react'
import { useState } from 'react'
import { type Explanation, explain, useAuth } from './auth.tsx'

/** The log-in. A wrong name and a wrong password look the same. */
export function LoginPage() {
  const { login } = useAuth()
  const [failure, setFailure] = useState<Explanation>()
  const [busy, setBusy] = useState(false)
  const form = useForm({
    mode: 'uncontrolled',
    initialValues: { email: '', password: '' },
    validate: {
      email: value => (value.includes('@') ? null : 'Enter your e-mail address'),
      password: value => (value.length > 0 ? null : 'Enter your password'),
    },
  })

  const submit = form.onSubmit(async ({ email, password }) => {
    setBusy(true)
    setFailure(undefined)
    try {
      await login(email.trim(), password)
    } catch (error) {
      setFailure(explain(error))
      setBusy(false)
    }
  })

  return (
    <Center mih="100dvh" p="md">
      <Paper component="main" withBorder shadow="sm" p="xl" w="100%" maw={400}>
        <form onSubmit={submit} noValidate>
          <Stack>
            <Group gap="xs">
              <IconDeviceDesktop size={28} aria-hidden />
              <Title order={1} size="h2">
                Sign in to RAP
              </Title>
            </Group>
            {failure !== undefined && (
              <Alert color="red" icon={<IconAlertCircle aria-hidden />} title={failure.title} role="alert">
                {failure.detail} {failure.remedy}
              </Alert>
            )}
            <TextInput
              label="E-mail"
              type="email"
              autoComplete="username"
              data-autofocus
              autoFocus
              required
              withAsterisk={false}
              key={form.key('email')}
              {...form.getInputProps('email')}
            />
            <PasswordInput
              label="Password"
              autoComplete="current-password"
              required
              withAsterisk={false}
              key={form.key('password')}
              {...form.getInputProps('password')}
            />
            <Button type="submit" loading={busy} fullWidth>
              Sign in
            </Button>
            <Text size="xs" c="dimmed">
              Passwords of the machines you connect to never reach this browser.{' '}
              <Anchor href="/docs" size="xs">
                API documentation
              </Anchor>
            </Text>
          </Stack>
        </form>
      </Paper>
    </Center>
  )
}
