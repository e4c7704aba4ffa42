import type { Sql, TransactionSql } from 'postgres'

/** A connection pool or one transaction of it. */
export type Db = Sql | TransactionSql
