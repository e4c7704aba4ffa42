import { randomBytes } from 'node:crypto'
import { PDUTYPE2 } from '@rap/rdp/codecs'
import { ClipboardPeer } from './clipboard-peer.ts'
import { DevicePeer } from './device-peer.ts'
import type { Link } from './links.ts'
import type { Channel } from './policies.ts'
import type { TargetSession } from './target-session.ts'

/** One session of the table: a client and a target that both try everything. */
export class Cell {
  readonly allowed: ReadonlySet<Channel>
  readonly link: Link
  readonly target: TargetSession
  readonly atClient: ClipboardPeer
  readonly atTarget: ClipboardPeer
  readonly devices: DevicePeer

  constructor(allowed: readonly Channel[], link: Link, target: TargetSession) {
    this.allowed = new Set(allowed)
    this.link = link
    this.target = target
    const { client } = link
    this.atClient = new ClipboardPeer(message => client.rdp.sendChannel('cliprdr', message))
    this.atTarget = new ClipboardPeer(message => target.sendChannel('cliprdr', message))
    this.devices = new DevicePeer(message => target.sendChannel('rdpdr', message))
    client.onMessage(({ channel, message }) => {
      if (channel === 'cliprdr') this.atClient.take(message)
    })
    target.onMessage(({ channel, message }) => {
      if (channel === 'cliprdr') this.atTarget.take(message)
      if (channel === 'rdpdr') this.devices.take(message)
    })
  }

  has(channel: Channel): boolean {
    return this.allowed.has(channel)
  }

  /** Whether the target was asked for a static channel. */
  knows(channel: string): boolean {
    return this.target.channels.has(channel)
  }

  /** Waits until everything that the client has sent so far is at the target. */
  async toTarget(): Promise<void> {
    const word = newWord()
    this.link.client.rdp.sendShare(PDUTYPE2.REFRESH_RECT, Buffer.from(word))
    await this.target.fence(word)
  }

  /** Waits until everything that the target has sent so far is at the client. */
  async toClient(): Promise<void> {
    const word = newWord()
    this.target.sendShare(PDUTYPE2.SET_KEYBOARD_INDICATORS, Buffer.from(word))
    await this.link.client.fence(word)
  }

  /** Both ways, twice: what one side said in answer to the other has come too. */
  async settle(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      await this.toTarget()
      await this.toClient()
    }
  }
}

/** Twelve letters that stand nowhere else. */
export function newWord(): string {
  return `w${randomBytes(6).toString('hex').slice(1)}`
}
