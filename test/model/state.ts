import type { EnvironmentName } from '../../src/domain/name.ts'
import type { ChangeRequest } from '../../src/domain/request.ts'
import type { ChangeBody, FactOf, Leaf } from '../../src/domain/statement.ts'
import { emptyRecord, type HostRecord } from '../../src/runtime/host-record.ts'
import type { Log, Logs } from './logs.ts'
import { digestFor, FactLog, type Said } from '../helpers/facts.ts'

export const dev: EnvironmentName = 'hello/dev'
export const prod: EnvironmentName = 'hello/prod'
export const environments = [dev, prod] as const

export type Instance = { epoch: number; number: number; key: Leaf; digest: string }

/** One host for each environment: what it remembers on disk, and the containers that the engine runs. */
export type Host = { record: HostRecord; denied: readonly string[]; instances: readonly Instance[] }

/** A request on its way, as workflows/change.ts has it in mind. */
export type Work = {
  request: ChangeRequest
  tries: number
  change: ChangeBody | null
  before: FactOf<'key'> | null
  key: FactOf<'key'> | null
}

export type Saying = 'change' | 'key' | 'active' | 'failed' | 'settled'

export type Effect = 'start' | 'retire' | 'take-back' | 'settle-back' | 'otherwise-back' | 'clear'

/** Where a promoter stands. `began`: the host took the epoch and has not come to act. */
export type Promoter = { noticed: EnvironmentName | null } & (
  | { at: 'idle' }
  | { at: 'plan'; work: Work }
  | { at: 'store'; says: Saying; work: Work }
  | { at: 'log'; says: Saying; work: Work; id: string; seen: number }
  | { at: Effect; work: Work; began: boolean }
)

/** An attempt at an effect that its promoter gave up on, and that may still come. */
export type Delayed = { effect: Effect; work: Work; began: boolean }

/** A bundle: what it says, and the leaf that its signature gives it. */
export type Stored = { said: Said; leaf: Leaf }

export type State = {
  log: Log
  /** Decisions by id, as they were first stored. */
  stored: Readonly<Record<string, Stored>>
  acknowledged: readonly Leaf[]
  promoters: readonly [Promoter, Promoter]
  hosts: Readonly<Record<string, Host>>
  delayed: Delayed | null
  left: { requests: number; crashes: number; delays: number; denials: number; signings: number }
}

export const artifacts = { a: digestFor('a'), b: digestFor('b') } as const

export function firstState(logs: Logs, left: Partial<State['left']> = {}): State {
  const log = new FactLog()
  for (const name of ['a', 'b']) log.seal(name, 'hello', ['dev', 'prod'])
  return {
    log: logs.of(log.facts),
    stored: {},
    acknowledged: [],
    promoters: [
      { at: 'idle', noticed: null },
      { at: 'idle', noticed: null },
    ],
    hosts: { [dev]: emptyHost(dev), [prod]: emptyHost(prod) },
    delayed: null,
    left: { requests: 3, crashes: 2, delays: 1, denials: 1, signings: 0, ...left },
  }
}

function emptyHost(environment: EnvironmentName): Host {
  return { record: emptyRecord(environment), denied: [], instances: [] }
}

/** One text for all states that go on alike: promoters are told apart by what they do, not by name. */
export function keyOf(state: State): string {
  const { log, stored, promoters, hosts, delayed, left } = state
  const waiting = Object.values(stored)
    .map(({ leaf }) => leaf)
    .filter((leaf) => !log.leaves.has(leaf))
  return [
    log.id,
    waiting.toSorted().join(),
    promoters
      .map((one) => keyOfPromoter(one, log.facts.length))
      .toSorted()
      .join('|'),
    Object.values(hosts).map(keyOfHost).join('|'),
    delayed === null ? '' : `${delayed.effect}${delayed.began}${keyOfWork(delayed.work)}`,
    Object.values(left).join(),
  ].join('\n')
}

function keyOfPromoter(one: Promoter, size: number): string {
  if (one.at === 'idle') return `idle ${one.noticed}`
  const more =
    one.at === 'log'
      ? `${one.says}${size - one.seen}`
      : one.at === 'store'
        ? one.says
        : one.at === 'plan'
          ? ''
          : String(one.began)
  return `${one.at} ${more} ${one.noticed} ${keyOfWork(one.work)}`
}

function keyOfWork({ request, tries, change, before, key }: Work): string {
  return `${request.id} ${tries} ${change?.environment}${change?.epoch}${change?.change} ${before?.leaf} ${key?.leaf}`
}

function keyOfHost({ record, denied, instances }: Host): string {
  const running = instances.map(({ epoch, number, key }) => `${epoch}.${number}.${key}`)
  return `${record.epoch} ${record.sequence} ${record.key} ${denied.join()} ${running.toSorted().join()}`
}
