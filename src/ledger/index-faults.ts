import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely'
import { KilnError } from '../domain/error.ts'

/**
 * SQLSTATE classes with which a server says that it cannot answer now: connection, transaction that met
 * another, resources, an operator's hand, the machine. See PostgreSQL's appendix A.
 */
const unavailable = new Set(['08', '40', '53', '57', '58'])
/** Wrong user or password, no such database, no right to it. */
const refusing = new Set(['28', '3D', '42501'])

/** The pool as it is, but what it cannot do is told as `store_unavailable` or `prerequisite_missing`. */
export function tellingPool(pool: PostgresPool, address: string): PostgresPool {
  return {
    options: pool.options,
    end: () => pool.end(),
    async connect() {
      const client = await pool.connect().catch((error: unknown) => {
        throw indexFault(error, address)
      })
      return tellingClient(client, address)
    },
  }
}

function tellingClient(client: PostgresPoolClient, address: string): PostgresPoolClient {
  const query = async (text: string, values: readonly unknown[]) => {
    try {
      return await client.query(text, values)
    } catch (error) {
      throw indexFault(error, address)
    }
  }
  return {
    ...(client.processID === undefined ? {} : { processID: client.processID }),
    // Kysely asks for cursors only when it streams; the index never does.
    query: query as PostgresPoolClient['query'] & (() => Promise<PostgresQueryResult<unknown>>),
    release: (destroy) => client.release(destroy),
  }
}

/** What a failed question means. An error that a question of ours is at fault for stays as it is. */
export function indexFault(error: unknown, address: string): unknown {
  const state = error instanceof Error && 'code' in error ? String(error.code) : ''
  const answered = /^[0-9A-Z]{5}$/.test(state)
  if (refusing.has(state) || refusing.has(state.slice(0, 2)) || wantsPassword(error)) {
    return new KilnError('prerequisite_missing', `PostgreSQL refuses: ${lineOf(error)}`, {
      cause: error,
      place: `KILN_INDEX=${address}`,
      fix: 'correct the address or the password of KILN_INDEX_PASSWORD, or make the database',
    })
  }
  if (answered && !unavailable.has(state.slice(0, 2))) return error
  return new KilnError('store_unavailable', `PostgreSQL does not answer: ${lineOf(error)}`, {
    cause: error,
    place: `KILN_INDEX=${address}`,
    fix: 'start it; nothing is lost meanwhile, the ledger is the truth',
  })
}

/** `pg` says so itself, before it has asked the server. */
function wantsPassword(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('SASL:')
}

function lineOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error)
  return text.split('\n', 1)[0]?.slice(0, 200) ?? ''
}
