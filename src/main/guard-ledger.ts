import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { admissible, type Admission, type Ledger } from '../domain/ledger.ts'
import { rehearsable } from '../domain/rehearsal.ts'
import { readDenied } from '../runtime/fence.ts'
import type { Admitted, GuardLedger } from '../runtime/guard/guard.ts'
import type { HostFreshness } from '../runtime/freshness.ts'
import type { Config } from './config.ts'
import { openHostFreshness } from './host-freshness.ts'
import { imageIdOf, openLedgerView, readDefinition, type LedgerView } from './ledger-view.ts'
import { readSeen } from './seen-checkpoint.ts'

type Opened = { view: LedgerView; fresh: HostFreshness }

/** How many manifests are read at once. */
const together = 16

/**
 * The ledger as the guard needs it: the host's own way of reading it, and what the host saw denied. It is
 * opened when it is first needed, again where that failed: the engine does not start without its guard.
 */
export function openGuardLedger(
  config: Config,
  { logger, now }: { logger: Logger; now: () => Date },
): GuardLedger {
  const { paths } = config
  const opened = retried(() => open(config, { logger, now }))
  const images = new Map<string, Digest[]>()
  const known = new Set<Digest>()
  let hasRead = false

  async function refresh(): Promise<Ledger> {
    const { view } = await opened()
    const ledger = await view.reader.refresh()
    const fresh = [...ledger.sealed.keys()].filter((digest) => !known.has(digest))
    for (let at = 0; at < fresh.length; at += together) {
      await Promise.all(fresh.slice(at, at + together).map((digest) => learn(view, digest)))
    }
    hasRead = true
    return ledger
  }

  async function learn({ store }: LedgerView, digest: Digest): Promise<void> {
    const id = await imageIdOf(store, digest).catch(ignoreCollected)
    if (known.has(digest)) return
    known.add(digest)
    if (id !== null) images.set(id, [...(images.get(id) ?? []), digest])
  }

  /** What this host saw denied is not in it. */
  async function vouched<T extends { digest: Digest }>(
    read: (ledger: Ledger) => readonly T[],
  ): Promise<readonly T[]> {
    const { fresh } = await opened()
    await fresh.demand()
    const ledger = await refresh()
    const denied = await readDenied(paths.host)
    return read(ledger).filter(({ digest }) => !denied.has(digest))
  }

  return {
    async artifactsOf(imageId) {
      try {
        await refresh()
      } catch (error) {
        // What was an artifact stays one; whether it may start is another question.
        if (!hasRead) throw error
        logger.warn({ err: error }, 'the ledger cannot be read; what was read before counts')
      }
      return images.get(imageId) ?? []
    },
    admitted: () => vouched(admittedIn),
    async entered() {
      return [...(await refresh()).environments.values()].flatMap(({ entered }) => entered)
    },
    rehearsable: async () => (await vouched(rehearsableIn)).map(({ digest }) => digest),
    async content({ digest, definition }) {
      const { store } = (await opened()).view
      return {
        definition: await readDefinition(store, definition),
        imageId: await imageIdOf(store, digest),
      }
    },
  }
}

function admittedIn(ledger: Ledger): Admitted[] {
  return [...ledger.environments.keys()].flatMap((environment) =>
    admissible(ledger, environment).map((pair) => ({ ...pair, environment })),
  )
}

function rehearsableIn(ledger: Ledger): Admission[] {
  return [...ledger.environments.keys()]
    .map((environment) => rehearsable(ledger, environment))
    .filter((pair) => pair !== null)
}

/** The manifest of an artifact that nothing needs any more may be gone. */
function ignoreCollected(error: unknown): null {
  if (error instanceof KilnError && error.code === 'not_found') return null
  throw error
}

/** Beside the host: what it saw of the log counts here too, what it notes is its own. */
async function open(
  config: Config,
  { logger, now }: { logger: Logger; now: () => Date },
): Promise<Opened> {
  const { paths } = config
  const seen = await readSeen(join(paths.host, 'checkpoint'))
  const known = seen === undefined ? {} : { seen }
  const view = await openLedgerView(paths, logger, {
    place: config.store,
    root: config.root,
    ...known,
  })
  await mkdir(paths.guard, { recursive: true, mode: 0o700 })
  const own = { ...paths, host: paths.guard, hostAlarm: join(paths.guard, 'alarm') }
  const fresh = await openHostFreshness({ ...config, paths: own }, view, { logger, now })
  return { view, fresh }
}

/** One run for all, and another one after a failure. */
function retried<T>(run: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  return () => {
    running ??= run().catch((error: unknown) => {
      running = undefined
      throw error
    })
    return running
  }
}
