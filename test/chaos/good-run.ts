import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import type {
  ContainerEvent,
  Disturbance,
  DockerEvent,
  Histories,
  Left,
  Request,
  Told,
} from '../../scripts/chaos/checker/evidence.ts'
import { writeTrust } from '../../signing/trust-files.ts'
import type { Signable } from '../../signing/statement.ts'
import { parseDigest, type Digest } from '../../src/domain/digest.ts'
import type { ActivationBody, ChangeBody, KeyBody, Leaf } from '../../src/domain/statement.ts'
import { openLedger, type LedgerWriter } from '../../src/ledger/ledger-writer.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { memorySigner, type TestSigner } from '../helpers/ledger-signer.ts'
import { example } from '../signing/examples.ts'

/**
 * A little run without a fault, as its evidence: one app, two promotions, one instance each. Tests break
 * one thing of it and see that the promise about that thing, and no other, is judged broken.
 */
export type Run = {
  store: string
  trust: string
  evidence: string
  ledger: LedgerWriter
  signer: TestSigner
  keys: readonly Leaf[]
  digests: readonly Digest[]
  requests: Request[]
  told: Told[]
  disturbances: Disturbance[]
  events: DockerEvent[]
  checkpoints: string[]
  left: { -readonly [K in keyof Left]: Left[K][number][] }
  edge: string[]
  histories: Record<string, { before: Rows; after: Rows }>
  /** Writes what was recorded; call it after the last change. */
  write: () => void
}

type Rows = Histories[string]['before'][number][]

export const start = Date.parse('2026-01-01T00:00:00.000Z')
const environment = 'hello/prod'
const second = 1000

export const isoAt = (at: number) => new Date(at).toISOString()
export const idOf = (epoch: number) => `container-${epoch}`
export const nameOf = (epoch: number) => `kiln-x.hello.prod.${epoch}.1`

/** Epoch n is taken at n × 100 s, its key 1 s later, its container starts 2 s later, all is over after 10 s. */
export const at = (epoch: number, seconds: number) => start + (epoch * 100 + seconds) * second

export async function goodRun(folder: string): Promise<Run> {
  const { store, trust, evidence } = placesIn(folder)
  const signer = memorySigner()
  await writeTrust(trust, signer.trust)
  mkdirSync(evidence, { recursive: true })
  const files = openFolderStore({ root: store })
  const ledger = openLedger({
    store: files,
    head: openFolderHead({ root: store }),
    signer,
    trust: signer.trust,
    logger: pino({ level: 'silent' }),
  })
  const run: Run = {
    store,
    trust,
    evidence,
    ledger,
    signer,
    keys: [],
    digests: [await artifact(files, 'a'), await artifact(files, 'b')],
    requests: [],
    told: [],
    disturbances: [],
    events: [networkEvent('create')],
    checkpoints: [],
    left: { containers: [], networks: ['kiln-x.hello.prod'], volumes: [], images: [] },
    edge: ['# pxname,svname,status,weight,type', 'be:hello.prod,BACKEND,UP,100,1'],
    histories: { [environment]: { before: [], after: [] } },
    write: () => write(run),
  }
  run.keys = [await promote(run, 1), await promote(run, 2)]
  run.edge.push(`be:hello.prod,${nameOf(2)},UP,100,2`)
  run.left.containers.push({ id: idOf(2), name: nameOf(2), state: 'running', kind: 'instance' })
  run.checkpoints.push(...signer.notes)
  return run
}

function placesIn(folder: string) {
  return {
    store: join(folder, 'store'),
    trust: join(folder, 'trust'),
    evidence: join(folder, 'evidence'),
  }
}

/** The same run again in another folder, for tests that decide nothing more: its ledger is the first one's. */
export function copyOf(run: Run, folder: string): Omit<Run, 'ledger'> {
  const { ledger: _, signer, write: __, store, trust, evidence: ___, ...recorded } = run
  const places = placesIn(folder)
  cpSync(store, places.store, { recursive: true })
  cpSync(trust, places.trust, { recursive: true })
  mkdirSync(places.evidence)
  const rest = { ...structuredClone(recorded), ...places, signer }
  const copy: Omit<Run, 'ledger'> = { ...rest, write: () => write(copy) }
  return copy
}

/** A manifest whose config digest stands for what the engine would run. */
async function artifact(files: ReturnType<typeof openFolderStore>, name: string): Promise<Digest> {
  async function* content() {
    yield Buffer.from(JSON.stringify({ config: { digest: `sha256:config-${name}` } }))
  }
  return (await files.putBlob(content())).digest
}

const definition = parseDigest(`sha256:${'d'.repeat(64)}`)

async function promote(run: Run, epoch: number): Promise<Leaf> {
  const digest = run.digests[epoch - 1]
  if (digest === undefined) throw new Error(`no artifact for epoch ${epoch}`)
  const change = `change:hello.prod:${epoch}`
  const sealed = { ...example('sealed'), artifact: digest, time: isoAt(at(epoch, -10)) }
  await run.ledger.decide({ id: `sealed ${epoch}`, signable: sealed })
  const state = run.ledger.ledger().environments.get(environment)
  const body: ChangeBody = {
    ...example('change').body,
    environment,
    epoch,
    change,
    instances: 1,
    changeKind: 'promotion',
    tip: state?.tip ?? null,
    target: { digest, definition },
  }
  await decide(run, { kind: 'change', time: isoAt(at(epoch, 0)), body })
  const key: KeyBody = {
    ...example('key').body,
    environment,
    epoch,
    digest,
    definition,
    sequence: epoch,
    previous: state?.lastKey ?? null,
  }
  const leaf = await decide(run, { ...example('key'), time: isoAt(at(epoch, 1)), body: key })
  happened(run, { epoch, digest, leaf })
  await decide(run, activation({ epoch, digest, key: leaf }))
  const row = {
    operation: change,
    kind: 'promotion',
    epoch,
    outcome: 'active',
    sequence: epoch,
    digest,
  }
  run.histories[environment]?.before.unshift(row)
  run.histories[environment]?.after.unshift(row)
  return leaf
}

export function activation(given: {
  epoch: number
  digest: Digest
  key: Leaf
  body?: Partial<ActivationBody>
  seconds?: number
}): Signable {
  const { epoch, digest, key } = given
  return {
    kind: 'activation',
    time: isoAt(at(epoch, given.seconds ?? 10)),
    artifact: digest,
    body: {
      environment,
      epoch,
      key,
      change: `change:hello.prod:${epoch}`,
      outcome: 'active',
      serving: { digest, definition, sequence: epoch },
      instances: [{ name: nameOf(epoch), id: idOf(epoch) }],
      failure: null,
      ...given.body,
    },
  }
}

async function decide(run: Run, signable: Signable): Promise<Leaf> {
  return (await run.ledger.decide({ id: `${signable.kind} ${signable.time}`, signable })).leaf
}

/** What the world saw of an epoch. */
function happened(
  run: Run,
  { epoch, digest, leaf }: { epoch: number; digest: Digest; leaf: Leaf },
) {
  const operation = `change:hello.prod:${epoch}`
  const common = { operation, kind: 'promotion', environment, digest }
  run.told.push(
    { at: at(epoch, 0), told: 'accepted', state: 'queued', ...common },
    { at: at(epoch, 11), told: 'ended', state: 'succeeded', ...common },
  )
  const own = { epoch, digest, key: leaf }
  run.events.push(
    containerEvent({ ...own, action: 'create', at: at(epoch, 2) }),
    containerEvent({ ...own, action: 'start', at: at(epoch, 3) }),
  )
  if (epoch === 2)
    run.events.push(containerEvent({ ...own, epoch: 1, action: 'destroy', at: at(2, 8) }))
  run.requests.push(request({ at: at(epoch, 5) }))
}

export function request(given: Partial<Request>): Request {
  const about = { id: 'r', at: start, ms: 5, environment, ok: true, error: '', instance: nameOf(1) }
  return { ...about, ...given }
}

export function containerEvent(
  given: Pick<ContainerEvent, 'action' | 'at' | 'epoch'> & Partial<ContainerEvent>,
): DockerEvent {
  const { epoch, digest = '', key = '', name = nameOf(epoch), id = idOf(epoch) } = given
  const attributes = {
    name,
    image: given.image ?? `sha256:config-${epoch === 1 ? 'a' : 'b'}`,
    'kiln.environment': given.environment ?? environment,
    'kiln.epoch': String(epoch),
    'kiln.digest': digest,
    'kiln.key': key,
    'kiln.host': 'x',
  }
  const Actor = { ID: id, Attributes: attributes }
  return { Type: 'container', Action: given.action, timeNano: given.at * 1e6, Actor }
}

function networkEvent(action: string): DockerEvent {
  const Actor = { ID: 'network', Attributes: { name: 'kiln-x.hello.prod' } }
  return { Type: 'network', Action: action, timeNano: start * 1e6, Actor }
}

function write(run: Omit<Run, 'ledger' | 'write'>): void {
  const lines = (name: string, values: readonly unknown[]) =>
    writeFileSync(
      join(run.evidence, name),
      values.map((value) => `${JSON.stringify(value)}\n`).join(''),
    )
  const whole = (name: string, value: unknown) =>
    writeFileSync(join(run.evidence, name), JSON.stringify(value))
  lines('requests.jsonl', run.requests)
  lines('operations.jsonl', run.told)
  lines('disturbances.jsonl', run.disturbances)
  lines('docker-events.jsonl', run.events)
  lines(
    'checkpoints.jsonl',
    run.checkpoints.map((note) => ({ note })),
  )
  whole('docker-final.json', run.left)
  whole('edge.json', { stat: run.edge.join('\n') })
  whole('history.json', run.histories)
}
