import { ActionIcon, Badge, Button, Group, Menu, Popover, Text, Tooltip } from '@mantine/core'
import { useFullscreenElement } from '@mantine/hooks'
import {
  IconArrowLeft,
  IconArrowsMaximize,
  IconArrowsMinimize,
  IconChevronDown,
  IconCommand,
  IconKeyboard,
  IconPlugConnectedX,
} from '@tabler/icons-react'
import { type RefObject, useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import type { DesktopState } from './desktop-session.ts'
import { SCREEN_SCALE } from './iron.ts'
import { WhyThisWay } from './why-this-way.tsx'

const STEPS = {
  starting: { label: 'Signing in', color: 'yellow' },
  connecting: { label: 'Connecting', color: 'yellow' },
  connected: { label: 'Connected', color: 'green' },
  ended: { label: 'Disconnected', color: 'gray' },
} as const

interface ToolbarProps {
  readonly name: string
  readonly state: DesktopState
  readonly page: RefObject<HTMLDivElement | null>
  onLeave(): void
}

/** The line above the desktop: what it is, how it is reached, and what can be done with it. */
export function Toolbar({ name, state, page, onLeave }: ToolbarProps) {
  const { rap } = useAuth()
  const fullscreen = useFullscreen(page)
  const [fitted, setFitted] = useState(true)
  const connected = state.step === 'connected' ? state : undefined

  const fit = (next: boolean): void => {
    connected?.desktop.ui.setScale(next ? SCREEN_SCALE.fit : SCREEN_SCALE.real)
    setFitted(next)
  }
  // The server closes the connection on it, so that the page finds the session detached, and not merely gone.
  const disconnect = async (): Promise<void> => {
    if (connected === undefined) {
      onLeave()
      return
    }
    await connected.session.detach().catch(() => undefined)
    connected.desktop.ui.shutdown()
  }
  const terminate = async (): Promise<void> => {
    if (connected !== undefined) await rap.sessions.terminate(connected.session.id).catch(() => undefined)
    onLeave()
  }

  return (
    <Group
      component="header"
      justify="space-between"
      wrap="nowrap"
      px="sm"
      h={48}
      style={{
        flex: 'none',
        background: 'var(--mantine-color-body)',
        borderBottom: '1px solid var(--mantine-color-default-border)',
      }}
    >
      <Group gap="xs" wrap="nowrap" miw={0} style={{ flex: 1, overflow: 'hidden' }}>
        <Tooltip label="All desktops">
          <ActionIcon variant="subtle" color="gray" aria-label="All desktops" onClick={onLeave}>
            <IconArrowLeft size={18} />
          </ActionIcon>
        </Tooltip>
        <Text fw={600} truncate>
          {name}
        </Text>
        <Badge variant="dot" color={STEPS[state.step].color} data-testid="connection-state" visibleFrom="xs">
          {STEPS[state.step].label}
        </Badge>
        {connected !== undefined && <PathBadge path={connected.path} />}
      </Group>
      <Group gap={4} wrap="nowrap">
        <Tooltip label="Send Ctrl+Alt+Del">
          <Button
            size="compact-sm"
            variant="subtle"
            color="gray"
            aria-label="Ctrl+Alt+Del"
            disabled={connected === undefined}
            onClick={() => connected?.desktop.ui.ctrlAltDel()}
          >
            <IconKeyboard size={18} aria-hidden />
            <Text span size="sm" fw={600} ml={6} visibleFrom="sm">
              Ctrl+Alt+Del
            </Text>
          </Button>
        </Tooltip>
        <Tooltip label="Send the Windows key">
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label="Send the Windows key"
            disabled={connected === undefined}
            onClick={() => connected?.desktop.ui.metaKey()}
          >
            <IconCommand size={18} />
          </ActionIcon>
        </Tooltip>
        <Button
          size="compact-sm"
          variant="subtle"
          color="gray"
          visibleFrom="sm"
          disabled={connected === undefined}
          onClick={() => fit(!fitted)}
        >
          {fitted ? 'Actual size' : 'Fit'}
        </Button>
        <Tooltip label={fullscreen.active ? 'Leave full screen' : 'Full screen'}>
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={fullscreen.active ? 'Leave full screen' : 'Full screen'}
            onClick={() => void fullscreen.toggle()}
          >
            {fullscreen.active ? <IconArrowsMinimize size={18} /> : <IconArrowsMaximize size={18} />}
          </ActionIcon>
        </Tooltip>
        <Button.Group>
          <Button
            size="compact-sm"
            variant="filled"
            color="red"
            aria-label="Disconnect"
            onClick={() => void disconnect()}
            disabled={state.step === 'ended'}
          >
            <IconPlugConnectedX size={16} aria-hidden />
            <Text span size="sm" fw={600} ml={6} visibleFrom="sm">
              Disconnect
            </Text>
          </Button>
          <Menu position="bottom-end">
            <Menu.Target>
              <Button
                size="compact-sm"
                color="red"
                px={6}
                aria-label="More ways to leave"
                disabled={connected === undefined}
              >
                <IconChevronDown size={16} aria-hidden />
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item color="red" onClick={() => void terminate()}>
                End session
              </Menu.Item>
            </Menu.Dropdown>
          </Menu>
        </Button.Group>
      </Group>
    </Group>
  )
}

/** Which way the desktop takes, and on request why. */
function PathBadge({ path: { path, trace } }: { path: Extract<DesktopState, { step: 'connected' }>['path'] }) {
  const direct = path === 'direct'
  const name = direct ? 'Direct' : 'Gateway'
  return (
    <Popover width={460} shadow="md" position="bottom-start" trapFocus returnFocus>
      <Popover.Target>
        <Badge
          component="button"
          type="button"
          variant="light"
          color={direct ? 'green' : 'blue'}
          style={{ cursor: 'pointer', flex: 'none' }}
          aria-label={`${name}: why?`}
          data-testid="path"
          data-path={path}
        >
          {name}
        </Badge>
      </Popover.Target>
      <Popover.Dropdown maw="calc(100vw - 16px)">
        <WhyThisWay trace={trace} />
      </Popover.Dropdown>
    </Popover>
  )
}

/** Full screen of the whole page, toolbar included: the way out stays in sight. */
function useFullscreen(page: RefObject<HTMLDivElement | null>) {
  const { ref, toggle, fullscreen } = useFullscreenElement<HTMLDivElement>()
  return {
    active: fullscreen,
    async toggle() {
      ref(page.current)
      await toggle()
    },
  }
}
