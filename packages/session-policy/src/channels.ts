/** The channels that a data-plane connection can be bound with. */
export const CHANNELS = [
  'display',
  'input',
  'clipboard_client_to_server',
  'clipboard_server_to_client',
  'file_upload',
  'events',
] as const

/** One channel's name. */
export type Channel = (typeof CHANNELS)[number]

/** The channels that live inside the RDP stream: one connection of an attachment has them all. */
export const RDP_CHANNELS = [
  'display',
  'input',
  'clipboard_client_to_server',
  'clipboard_server_to_client',
] as const satisfies readonly Channel[]

/** The channels beside the RDP stream: they may be bound by a connection of their own, and again by a newer one. */
export const SIDE_CHANNELS = ['file_upload', 'events'] as const satisfies readonly Channel[]

export function isRdpChannel(channel: string): boolean {
  return (RDP_CHANNELS as readonly string[]).includes(channel)
}

export function isSideChannel(channel: string): boolean {
  return (SIDE_CHANNELS as readonly string[]).includes(channel)
}
