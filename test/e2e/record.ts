import pino from 'pino'
import { createDocker } from '../../src/docker/client.ts'
import type { Ledger } from '../../src/domain/ledger.ts'
import type { Fact, FactKind, FactOf } from '../../src/domain/statement.ts'
import { loadConfig } from '../../src/main/config.ts'
import { openLedgerView } from '../../src/main/ledger-view.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'

/** The ledger as an auditor reads it: from the object store alone, every entry verified. */
export type OnRecord = {
  ledger: Ledger
  facts: readonly Fact[]
  of: <K extends FactKind>(kind: K) => FactOf<K>[]
}

export async function onRecord(kiln: KilnAtHand): Promise<OnRecord> {
  const { paths, store } = loadConfig({ ...kiln.env, KILN_HOME: kiln.home }, kiln.folder)
  const { reader } = await openLedgerView(paths, pino({ level: 'silent' }), { place: store })
  const ledger = await reader.refresh()
  const facts = reader.facts()
  return {
    ledger,
    facts,
    of: <K extends FactKind>(kind: K) =>
      facts.filter((fact): fact is FactOf<K> => fact.kind === kind),
  }
}

export type Container = {
  id: string
  name: string
  state: string
  environment: string
  digest: string
}

/** Every container that this Kiln made and that still exists, running or not. */
export async function containersOf(
  kiln: KilnAtHand,
  socketPath = '/var/run/docker.sock',
): Promise<Container[]> {
  const found = await createDocker({ socketPath }).listContainers({
    all: true,
    filters: { label: [`kiln.host=${kiln.host}`] },
  })
  return found.map((one) => ({
    id: one.Id,
    name: (one.Names[0] ?? '').slice(1),
    state: one.State,
    environment: one.Labels['kiln.environment'] ?? '',
    digest: one.Labels['kiln.digest'] ?? '',
  }))
}

/** All that a refusal must leave as it was. */
export async function standing(kiln: KilnAtHand) {
  const { ledger } = await onRecord(kiln)
  return {
    containers: (await containersOf(kiln)).map(({ id, state }) => `${id} ${state}`).toSorted(),
    environments: [...ledger.environments.values()].map(({ environment, epoch, active }) => ({
      environment,
      epoch,
      serves: active?.body.digest,
    })),
    sealed: [...ledger.sealed.keys()],
    void: ledger.void.size,
  }
}

type OfChange = FactOf<'change'> | FactOf<'key'> | FactOf<'activation'>

/** An environment's facts in log order, a group for each change. Throws when a fact stands before the first. */
export async function changesOf(kiln: KilnAtHand, environment: string): Promise<OfChange[][]> {
  const groups: OfChange[][] = []
  for (const fact of (await onRecord(kiln)).facts) {
    if (fact.kind !== 'change' && fact.kind !== 'key' && fact.kind !== 'activation') continue
    if (fact.body.environment !== environment) continue
    if (fact.kind === 'change') groups.push([])
    const group = groups.at(-1)
    if (group === undefined) throw new Error(`${fact.kind} before any change`)
    group.push(fact)
  }
  return groups
}
