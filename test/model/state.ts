import type { EnvironmentName } from '../../src/domain/name.ts'
import type { ChangeRequest } from '../../src/domain/request.ts'
import type { ChangeBody, FactOf, Leaf } from '../../src/domain/statement.ts'
import { emptyRecord, type HostRecord } from '../../src/runtime/host-record.ts'
import { chainOf, type Log, type Logs } from './logs.ts'
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
  /** What is kept and how many are started, as it was when the host took the epoch. */
  made: { keep: readonly string[]; count: number } | null
}

export type Saying = 'change' | 'key' | 'active' | 'failed' | 'settled'

export type Effect =
  | 'observe'
  | 'start'
  | 'retire'
  | 'take-back'
  | 'settle-back'
  | 'otherwise-back'
  | 'clear'

/** Where a promoter stands. */
export type Promoter = { noticed: EnvironmentName | null } & (
  | { at: 'idle' }
  | { at: 'plan'; work: Work }
  | { at: 'store'; says: Saying; work: Work }
  | { at: 'log'; says: Saying; work: Work; id: string; seen: number }
  | { at: Effect; work: Work }
)

/** An attempt at an effect that its promoter gave up on, and that may still come. */
export type Delayed = { effect: Effect; work: Work }

/** A bundle: what it says, and the leaf that its signature gives it; and whose decision it is. */
export type Stored = {
  id: string
  said: Said
  leaf: Leaf
  environment: EnvironmentName
  epoch: number
  /** The request that a change is for. */
  request: string | null
}

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

export function nameOf({ epoch, number }: Pick<Instance, 'epoch' | 'number'>): string {
  return `${epoch}.${number}`
}

export function hostOf({ hosts }: State, environment: EnvironmentName): Host {
  const host = hosts[environment]
  if (host === undefined) throw new Error(`no host of ${environment}`)
  return host
}

export function isOpen({ log }: State, environment: EnvironmentName): boolean {
  return chainOf(log, environment).state.open !== null
}
