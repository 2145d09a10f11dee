import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { promisify } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { createPgConfig } from '@electric-sql/pglite/node-postgres'
import type { PostgresPool } from 'kysely'
import { Pool } from 'pg'
import type { Logger } from 'pino'
import { lockFolder } from '../store/folder-lock.ts'
import { readSecretFile } from '../store/secret-file.ts'
import { tellingPool } from './index-faults.ts'

/** Where the index is: PGlite in a folder of its own, or a database of a PostgreSQL server. */
export type IndexPlace =
  | { kind: 'pglite'; dir: string }
  | {
      kind: 'postgres'
      /** `postgres://<user>@<host>:<port>/<database>`, without a password. */
      address: string
      /** File that holds the password, where the server wants one. */
      passwordFile: string | undefined
    }

export type OpenPool = {
  pool: PostgresPool
  /** Ends the connections and gives up the folder. */
  close: () => Promise<void>
  /** What to do when the database cannot be used. */
  fix: string
}

const connectMs = 10_000

/** Both speak through `pg`, so that types and SQL are one code path. Throws `already_running`, `prerequisite_missing`. */
export function openPool(place: IndexPlace, logger: Logger): Promise<OpenPool> {
  return place.kind === 'pglite' ? inFolder(place.dir, logger) : onServer(place, logger)
}

/** The folder has one owner: PGlite itself lets a second process in and then loses rows. */
async function inFolder(dir: string, logger: Logger): Promise<OpenPool> {
  const lock = await lockFolder(dir)
  const dataDir = await ensureDatabase(dir)
  const pglite = await PGlite.create({ dataDir, postgresqlconf: modest })
  const limits = { max: 1, connectionTimeoutMillis: connectMs }
  const pool = heard(new Pool(Object.assign(createPgConfig(pglite), limits)), logger)
  return {
    pool,
    fix: `remove the folder ${dir}: the index is made anew from the ledger`,
    async close() {
      await pool.end()
      await pglite.close()
      lock.release()
    },
  }
}

/** Any number of servers may share one database: what folds takes a lock first. */
async function onServer(
  { address, passwordFile }: Extract<IndexPlace, { kind: 'postgres' }>,
  logger: Logger,
): Promise<OpenPool> {
  const password = passwordFile === undefined ? undefined : await readSecretFile(passwordFile)
  const pool = heard(
    new Pool({
      connectionString: withPassword(address, password),
      application_name: 'kiln',
      max: 5,
      connectionTimeoutMillis: connectMs,
      statement_timeout: 120_000,
    }),
    logger,
  )
  return {
    pool: tellingPool(pool, address),
    fix: `see that ${address} answers, and that its user may make tables in it`,
    close: () => pool.end(),
  }
}

/** What stands beside an address is ignored by `pg`: the password goes into the address, in memory only. */
function withPassword(address: string, password: string | undefined): string {
  if (password === undefined) return address
  const url = new URL(address)
  url.password = encodeURIComponent(password)
  return url.href
}

/** A connection that breaks says so to whoever uses it; that it said so must not end the process. */
function heard(pool: Pool, logger: Logger): Pool {
  const tell = (error: Error): void => logger.error({ err: error }, 'the index lost its connection')
  pool.on('error', tell)
  pool.on('connect', (client) => client.on('error', tell))
  return pool
}

/** One connection, small queries. */
const modest = ['shared_buffers = 16MB', 'work_mem = 1MB', 'maintenance_work_mem = 8MB']

/** Made aside and renamed: a start that was killed half-way leaves nothing that looks like a database. */
async function ensureDatabase(dir: string): Promise<string> {
  const dataDir = join(dir, 'pg')
  if (existsSync(dataDir)) return dataDir
  const half = join(dir, 'pg.new')
  await rm(half, { recursive: true, force: true })
  const script = join(import.meta.dirname, `index-init${extname(import.meta.filename)}`)
  await promisify(execFile)(process.execPath, ['--liftoff-only', script, half], { env: {} })
  await rename(half, dataDir)
  return dataDir
}
