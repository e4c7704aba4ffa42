import '@devolutions/iron-remote-desktop'
import type { IronError, UserInteraction } from '@devolutions/iron-remote-desktop'
import { Backend, displayControl, enableCredssp, init } from '@devolutions/iron-remote-desktop-rdp'
import type { RdCleanPathTarget } from '@rap/client-sdk'
import type { RemoteClipboard } from './clipboard/remote-clipboard.ts'

/** How the desktop is fitted into the page; the numbers are the component's own. */
export const SCREEN_SCALE = { fit: 1, real: 3 } as const

/** A desktop on the screen. */
export interface IronDesktop {
  readonly ui: UserInteraction
  /** Resolves when the RDP session ends, with the component's own words; they are for the log, not for the person. */
  readonly ended: Promise<string>
  /** Ends it; nothing where it has ended. */
  close(): void
}

export interface Size {
  readonly width: number
  readonly height: number
}

export interface ShowOptions {
  readonly size: Size
  /** Undefined where no text may go either way: then the desktop is not told of a clipboard at all. */
  readonly clipboard: RemoteClipboard | undefined
}

let started: Promise<void> | undefined

/**
 * Puts `<iron-remote-desktop>` into `host` and connects it through RDCleanPath.
 *
 * The account that the component asks for is a placeholder: the worker drops whatever a client puts there.
 */
export async function showDesktop(
  host: HTMLElement,
  path: RdCleanPathTarget,
  { size, clipboard }: ShowOptions,
): Promise<IronDesktop> {
  started ??= init('WARN')
  await started
  const ui = await mount(host, clipboard?.module ?? Backend)
  const config = ui
    .configBuilder()
    .withUsername('rap')
    .withPassword('rap')
    .withServerDomain('')
    .withDestination(path.destination)
    .withProxyAddress(path.proxyAddress)
    .withAuthToken(path.authToken)
    .withDesktopSize({ ...size })
    .withExtension(enableCredssp(false))
    .withExtension(displayControl(true))
    .build()
  // The component's own clipboard goes both ways or none, and reads every tenth of a second: ours is in the module.
  ui.setEnableClipboard(false)
  const session = await ui.connect(config)
  ui.setVisibility(true)
  ui.setScale(SCREEN_SCALE.fit)
  let isUp = true
  const ended = session.run().then(info => info.reason(), describeIronError)
  void ended.then(() => {
    isUp = false
  })
  // The component throws where there is nothing left to end.
  return { ui, ended, close: () => isUp && ui.shutdown() }
}

/** The component says that it is ready once, as soon as it is connected to the document: the listener comes first. */
async function mount(host: HTMLElement, module: typeof Backend): Promise<UserInteraction> {
  const element = document.createElement('iron-remote-desktop')
  const ready = new Promise<UserInteraction>(resolve => {
    element.addEventListener(
      'ready',
      event => resolve((event as CustomEvent<{ irgUserInteraction: UserInteraction }>).detail.irgUserInteraction),
      {
        once: true,
      },
    )
  })
  Object.assign(element, { module, flexcenter: 'true', scale: 'fit', verbose: 'false' })
  element.setAttribute('flexcenter', 'true')
  // Right after it is ready the component tries out the browser's clipboard, and where it cannot ask for the permission it reads it.
  Object.defineProperty(navigator, 'clipboard', { configurable: true, value: undefined })
  try {
    host.replaceChildren(element)
    const ui = await ready
    await new Promise(resolve => setTimeout(resolve))
    return ui
  } finally {
    Reflect.deleteProperty(navigator, 'clipboard')
  }
}

/** What a failure of the component was, by its kind: its texts may name what only a developer wants. */
export function describeIronError(error: unknown): string {
  const iron = error as Partial<IronError> | undefined
  if (typeof iron?.kind !== 'function') return 'unexpected'
  const status = iron.rdcleanpathDetails?.()?.httpStatusCode
  return status === undefined ? `kind ${iron.kind()}` : `kind ${iron.kind()}, status ${status}`
}
