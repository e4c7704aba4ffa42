import postgres from 'postgres'

/**
 * The content of a whole database as text: one COPY block a table, then large objects.
 *
 * bytea is in escape format (PostgreSQL manual §8.4.2), so a string that was stored as bytes is found by a plain
 * search. COPY doubles backslashes; search for values without them.
 */
export async function dumpDatabase(url: string): Promise<string> {
  const sql = postgres(url, { max: 1, onnotice: () => {}, connection: { bytea_output: 'escape' } })
  try {
    const tables = await sql<{ name: string }[]>`
      select format('%I.%I', n.nspname, c.relname) as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
      order by 1`
    const parts: string[] = []
    for (const { name } of tables) parts.push(`-- ${name}\n${await copy(sql, `select * from ${name}`)}`)
    parts.push(`-- large objects\n${await copy(sql, 'select loid, pageno, data from pg_largeobject order by 1, 2')}`)
    return parts.join('\n')
  } finally {
    await sql.end()
  }
}

async function copy(sql: postgres.Sql, query: string): Promise<string> {
  const chunks: Buffer[] = []
  const stream = await sql.unsafe(`copy (${query}) to stdout with (format text, header)`).readable()
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}
