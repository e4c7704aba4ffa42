import { useSyncExternalStore } from 'react'
import { NOTHING, type SideConnection, type SideState } from './side-connection.ts'

const unsubscribe = () => undefined

/** The state of the connection beside the desktop, as it changes. */
export function useSide(side: SideConnection | undefined): SideState {
  return useSyncExternalStore(side?.subscribe ?? (() => unsubscribe), () => side?.state ?? NOTHING)
}
