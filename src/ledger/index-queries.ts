import type { Kysely, Selectable } from 'kysely'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { IndexTables } from './index-schema.ts'

/** `cursor` is what an earlier page gave as `next`; anything else throws `invalid_input`. */
export type PageRequest = { limit: number; cursor?: string | undefined }
export type Page<T> = { items: T[]; next: string | null }

export type ChangeRow = Selectable<IndexTables['changes']> & {
  /** Of the artifact that was to serve; null when it is not sealed here. */
  commit: string | null
  subject: string | null
}
export type ArtifactRow = Selectable<IndexTables['artifacts']> & {
  denied: { reason: string; requestedBy: string; time: string } | null
  /** Where it is active now. */
  environments: string[]
}
export type RefusalRow = Selectable<IndexTables['refusals']>
export type KeyRow = Selectable<IndexTables['keys']>

/** Newest first, all of them. */
export type IndexQueries = {
  listArtifacts(filter: { app?: string | undefined }, page: PageRequest): Promise<Page<ArtifactRow>>
  /** At most `limit` sealed artifacts whose digest begins with these hexadecimal characters. */
  artifactsBeginningWith(hex: string, limit: number): Promise<ArtifactRow[]>
  /** The environment's changes with their keys and outcomes. */
  history(environment: EnvironmentName, page: PageRequest): Promise<Page<ChangeRow>>
  keys(environment: EnvironmentName, page: PageRequest): Promise<Page<KeyRow>>
  refusals(
    filter: { environment?: EnvironmentName | undefined },
    page: PageRequest,
  ): Promise<Page<RefusalRow>>
}

export function indexQueries(db: Kysely<IndexTables>): IndexQueries {
  return {
    async listArtifacts({ app }, page) {
      let query = db.selectFrom('artifacts').selectAll().orderBy('index', 'desc')
      if (app !== undefined) query = query.where('app', '=', app)
      const before = positionOf(page)
      if (before !== undefined) query = query.where('index', '<', before)
      const rows = await query.limit(page.limit + 1).execute()
      const found = pageOf(rows, page.limit, (row) => row.index)
      return { ...found, items: await withUse(db, found.items) }
    },
    async artifactsBeginningWith(hex, limit) {
      if (!/^[0-9a-f]{1,64}$/.test(hex)) return []
      const rows = await db
        .selectFrom('artifacts')
        .selectAll()
        .where('digest', 'like', `sha256:${hex}%`)
        .orderBy('index', 'desc')
        .limit(limit)
        .execute()
      return await withUse(db, rows)
    },
    history: (environment, page) => history(db, environment, page),
    async keys(environment, page) {
      const before = positionOf(page)
      let query = db.selectFrom('keys').selectAll().where('environment', '=', environment)
      if (before !== undefined) query = query.where('sequence', '<', before)
      const rows = await query
        .orderBy('sequence', 'desc')
        .limit(page.limit + 1)
        .execute()
      return pageOf(rows, page.limit, (row) => row.sequence)
    },
    async refusals({ environment }, page) {
      const before = positionOf(page)
      let query = db.selectFrom('refusals').selectAll().orderBy('index', 'desc')
      if (environment !== undefined) query = query.where('environment', '=', environment)
      if (before !== undefined) query = query.where('index', '<', before)
      return pageOf(await query.limit(page.limit + 1).execute(), page.limit, (row) => row.index)
    },
  }
}

async function history(
  db: Kysely<IndexTables>,
  environment: EnvironmentName,
  page: PageRequest,
): Promise<Page<ChangeRow>> {
  const before = positionOf(page)
  let query = db
    .selectFrom('changes')
    .leftJoin('artifacts', 'artifacts.digest', 'changes.digest')
    .selectAll('changes')
    .select(['artifacts.commit', 'artifacts.subject'])
    .where('environment', '=', environment)
  if (before !== undefined) query = query.where('epoch', '<', before)
  const rows = await query
    .orderBy('epoch', 'desc')
    .limit(page.limit + 1)
    .execute()
  return pageOf(rows, page.limit, (row) => row.epoch)
}

async function withUse(
  db: Kysely<IndexTables>,
  rows: readonly Selectable<IndexTables['artifacts']>[],
): Promise<ArtifactRow[]> {
  const digests = rows.map((row) => row.digest)
  if (digests.length === 0) return []
  const denials = await db
    .selectFrom('denials')
    .selectAll()
    .where('digest', 'in', digests)
    .execute()
  const active = await db
    .selectFrom('environments')
    .select(['environment', 'active'])
    .where('active', 'in', digests)
    .orderBy('environment')
    .execute()
  return rows.map((row) => {
    const denial = denials.find(({ digest }) => digest === row.digest)
    const { reason, requested_by: requestedBy, time } = denial ?? {}
    const denied =
      reason === undefined || requestedBy === undefined || time === undefined
        ? null
        : { reason, requestedBy, time }
    const environments = active
      .filter((one) => one.active === row.digest)
      .map(({ environment }) => environment)
    return { ...row, denied, environments }
  })
}

function positionOf({ cursor, limit }: PageRequest): number | undefined {
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw new KilnError('invalid_input', `a page has 1 to 1000 rows, not ${limit}`)
  }
  if (cursor === undefined) return undefined
  if (/^\d{1,9}$/.test(cursor)) return Number(cursor)
  throw new KilnError('invalid_input', 'the cursor was not given by an earlier page')
}

/** One row more than the page was asked for: whether there is a next one. */
function pageOf<T>(rows: readonly T[], limit: number, position: (row: T) => number): Page<T> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  const next = rows.length > limit && last !== undefined ? String(position(last)) : null
  return { items, next }
}
