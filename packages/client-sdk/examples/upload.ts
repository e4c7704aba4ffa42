import { openAsBlob } from 'node:fs'
import { basename } from 'node:path'
import { RapError, type Session } from '@rap/client-sdk'

/** Puts a file into RAP_Transfers of a session, and answers its name there. */
export async function send(session: Session, path: string): Promise<string> {
  const transfers = await session.transfers()
  try {
    const { name } = await transfers.upload(await openAsBlob(path), {
      name: basename(path),
      onProgress: (sent, total) => process.stderr.write(`${sent} of ${total} bytes\n`),
    })
    return name
  } catch (error) {
    if (error instanceof RapError) process.stderr.write(`${error.code}: ${error.detail} ${error.remedy ?? ''}\n`)
    throw error
  } finally {
    await transfers.close()
  }
}

/** Tells a person what happens to their session. */
export async function tell(session: Session): Promise<void> {
  const transfers = await session.transfers()
  for await (const event of transfers.events()) {
    if (event.type === 'limit_near') process.stderr.write(`${event.seconds_left} seconds are left\n`)
    else if (event.type === 'withheld') process.stderr.write(`${event.detail}\n`)
  }
}
