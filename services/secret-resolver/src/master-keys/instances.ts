import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Sql } from 'postgres'
import type { Db } from '../database.ts'

/** A resolver that was not heard of for so long is not running. */
const LIVE_SECONDS = 45

/** A running resolver and the key sources that it has. */
export interface ResolverInstance {
  readonly name: string
  readonly sources: readonly string[]
  readonly seen_at: Date
}

export function selectInstances(sql: Db) {
  return sql<ResolverInstance[]>`
    select name, sources, seen_at from secrets.resolver_instances
    where seen_at > now() - make_interval(secs => ${LIVE_SECONDS}) order by name`
}

/** The running resolvers that could not open what a key of this source has wrapped. */
export async function instancesWithout(sql: Db, source: string): Promise<string[]> {
  return (await selectInstances(sql)).filter(({ sources }) => !sources.includes(source)).map(({ name }) => name)
}

/** This process in the list of running resolvers. */
export class InstanceRecord {
  readonly #sql: Sql
  readonly #id = randomUUID()
  readonly #name = `${hostname()}:${process.pid}`

  constructor(sql: Sql) {
    this.#sql = sql
  }

  /** Says that this process runs and has these sources, and forgets those that are long gone. */
  async beat(sources: readonly string[]): Promise<void> {
    await this.#sql`
      insert into secrets.resolver_instances (instance_id, name, sources)
      values (${this.#id}, ${this.#name}, ${[...sources]})
      on conflict (instance_id) do update set sources = excluded.sources, seen_at = now()`
    await this.#sql`delete from secrets.resolver_instances where seen_at < now() - interval '10 minutes'`
  }

  async remove(): Promise<void> {
    await this.#sql`delete from secrets.resolver_instances where instance_id = ${this.#id}`
  }
}
