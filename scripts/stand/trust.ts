import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { findProgram } from '@rap/testkit'

const NICKNAME = 'RAP demo platform CA'

/** The NSS databases of a person's browsers: one for Chromium and Chrome, one in each Firefox profile. */
function databases(): string[] {
  const home = homedir()
  const shared = join(home, '.pki', 'nssdb')
  const profiles = ['.mozilla/firefox', 'snap/firefox/common/.mozilla/firefox'].flatMap(folder => {
    const path = join(home, folder)
    return existsSync(path) ? readdirSync(path).map(name => join(path, name)) : []
  })
  return [shared, ...profiles.filter(profile => existsSync(join(profile, 'cert9.db')))]
}

/** Adds the authority to the person's own browsers; nothing of the system is changed. Answers the databases. */
export function trust(caFile: string): string[] {
  const changed = databases()
  for (const database of changed) {
    if (!existsSync(join(database, 'cert9.db'))) {
      mkdirSync(database, { recursive: true, mode: 0o700 })
      certutil(['-N', '-d', `sql:${database}`, '--empty-password'])
    }
    // One of an earlier demo, before a reset, would stay beside the new one.
    certutil(['-D', '-d', `sql:${database}`, '-n', NICKNAME], true)
    certutil(['-A', '-d', `sql:${database}`, '-n', NICKNAME, '-t', 'C,,', '-i', caFile])
  }
  return changed
}

/** Takes the authority out again. Answers the databases that had it. */
export function untrust(): string[] {
  return databases().filter(database => certutil(['-D', '-d', `sql:${database}`, '-n', NICKNAME], true))
}

function certutil(args: readonly string[], mayFail = false): boolean {
  const program = findProgram('certutil')
  if (program === undefined) throw new Error('certutil is not installed: sudo apt-get install libnss3-tools')
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0 && !mayFail) throw new Error(`certutil failed: ${stderr.trim()}`)
  return status === 0
}
