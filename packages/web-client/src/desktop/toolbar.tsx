import { ActionIcon, Badge, Button, Group, Indicator, Menu, Popover, Text, Tooltip } from '@mantine/core'
import { useFullscreenDocument } from '@mantine/hooks'
import {
  IconArrowLeft,
  IconArrowsMaximize,
  IconArrowsMinimize,
  IconChevronDown,
  IconCommand,
  IconFiles,
  IconKeyboard,
  IconPlugConnectedX,
} from '@tabler/icons-react'
import { useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { ClipboardButtons } from './clipboard/clipboard-buttons.tsx'
import type { DesktopState } from './desktop-session.ts'
import { SCREEN_SCALE } from './iron.ts'
import type { LivePolicy } from './policy/live-policy.ts'
import { WhatMayI } from './policy/what-may-i.tsx'
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
  /** What the open desktop may do; undefined while there is none. */
  readonly policy: LivePolicy | undefined
  /** How many files are on their way, and whether their panel is open. */
  readonly files: { readonly sending: number; readonly opened: boolean; toggle(): void }
  onLeave(): void
}

/** The line above the desktop: what it is, how it is reached, and what can be done with it. */
export function Toolbar({ name, state, policy, files, onLeave }: ToolbarProps) {
  const { rap } = useAuth()
  // The whole document, since dialogs and menus stand beside the page in it.
  const fullscreen = useFullscreenDocument()
  const [fitted, setFitted] = useState(true)
  const connected = state.step === 'connected' ? state : undefined
  const mayType = connected !== undefined && policy?.channels.has('input') === true

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
    connected.desktop.close()
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
        <ClipboardButtons clipboard={connected?.clipboard} policy={policy} />
        <Tooltip label="Files">
          <Indicator disabled={files.sending === 0} label={files.sending} size={14} offset={4}>
            <ActionIcon
              variant={files.opened ? 'light' : 'subtle'}
              color="gray"
              aria-label="Files"
              aria-expanded={files.opened}
              disabled={connected === undefined}
              onClick={files.toggle}
            >
              <IconFiles size={18} />
            </ActionIcon>
          </Indicator>
        </Tooltip>
        <WhatMayI policy={policy} />
        <Tooltip label="Send Ctrl+Alt+Del">
          <Button
            size="compact-sm"
            variant="subtle"
            color="gray"
            aria-label="Ctrl+Alt+Del"
            visibleFrom="sm"
            disabled={!mayType}
            onClick={() => connected?.desktop.ui.ctrlAltDel()}
          >
            <IconKeyboard size={18} aria-hidden />
            <Text span size="sm" fw={600} ml={6} visibleFrom="lg">
              Ctrl+Alt+Del
            </Text>
          </Button>
        </Tooltip>
        <Tooltip label="Send the Windows key">
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label="Send the Windows key"
            visibleFrom="sm"
            disabled={!mayType}
            onClick={() => connected?.desktop.ui.metaKey()}
          >
            <IconCommand size={18} />
          </ActionIcon>
        </Tooltip>
        <Button
          size="compact-sm"
          variant="subtle"
          color="gray"
          visibleFrom="md"
          disabled={connected === undefined}
          onClick={() => fit(!fitted)}
        >
          {fitted ? 'Actual size' : 'Fit'}
        </Button>
        <Tooltip label={fullscreen.fullscreen ? 'Leave full screen' : 'Full screen'}>
          <ActionIcon
            variant="subtle"
            color="gray"
            visibleFrom="xs"
            aria-label={fullscreen.fullscreen ? 'Leave full screen' : 'Full screen'}
            onClick={() => void fullscreen.toggle()}
          >
            {fullscreen.fullscreen ? <IconArrowsMinimize size={18} /> : <IconArrowsMaximize size={18} />}
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
            <Text span size="sm" fw={600} ml={6} visibleFrom="md">
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
              {/* On a narrow page the keys are here. */}
              <Menu.Item hiddenFrom="sm" disabled={!mayType} onClick={() => connected?.desktop.ui.ctrlAltDel()}>
                Send Ctrl+Alt+Del
              </Menu.Item>
              <Menu.Item hiddenFrom="sm" disabled={!mayType} onClick={() => connected?.desktop.ui.metaKey()}>
                Send the Windows key
              </Menu.Item>
              <Menu.Item hiddenFrom="md" onClick={() => fit(!fitted)}>
                {fitted ? 'Actual size' : 'Fit'}
              </Menu.Item>
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
