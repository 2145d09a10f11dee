import type { Digest } from '../../src/domain/digest.ts'
import { environmentOf } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { changeId, type ChangeRequest, type Wish } from '../../src/domain/request.ts'
import type { ChangeBody } from '../../src/domain/statement.ts'
import { openFence } from '../../src/runtime/fence.ts'
import { onHost } from './host.ts'
import { hex, type Rooms } from './rooms.ts'

const person = { name: 'ann', kind: 'token' } as const

export function promotion(digest: Digest): Wish {
  return { kind: 'promotion', digest, automatic: false }
}

function request({ now }: Rooms, environment: EnvironmentName, wish: Wish): ChangeRequest {
  const at = now()
  return {
    id: changeId(environment, `${wish.kind}${at.getTime() / 60_000}`),
    environment,
    wish,
    reason: 'recorded',
    principal: person,
    requestedAt: at.toISOString(),
  }
}

/** A change that has its epoch, and its key where it issues one. */
async function open(rooms: Rooms, wanted: ChangeRequest) {
  const decision = await rooms.decideChange(wanted)
  if (decision.kind !== 'change') throw new Error(`${wanted.id}: ${JSON.stringify(decision)}`)
  const input = { request: wanted, body: decision.body }
  const opened = await rooms.records.recordChange(input)
  if (opened.kind === 'lost') throw new Error(`${wanted.id} came too late`)
  const keyed = ['promotion', 'rollback'].includes(opened.body.changeKind)
  const issued = keyed
    ? (await rooms.records.issueKey({ request: wanted, change: opened.body })).key
    : decision.active
  if (issued === null) throw new Error(`${wanted.id} has no key`)
  return { input, change: opened.body, key: issued }
}

export async function succeed(
  rooms: Rooms,
  environment: EnvironmentName,
  wish: Wish,
): Promise<void> {
  const { change, key } = await open(rooms, request(rooms, environment, wish))
  const instances = instancesOf(change)
  await onHost(rooms, { change, key, instances })
  const { digest, definition, sequence } = key.body
  await rooms.records.recordActivation({
    artifact: digest,
    body: {
      environment,
      epoch: change.epoch,
      change: change.change,
      outcome: 'active',
      serving: { digest, definition, sequence },
      instances,
      failure: null,
    },
  })
}

function instancesOf({ environment, epoch, instances }: ChangeBody) {
  return Array.from({ length: instances }, (_, at) => {
    const name = `${environment.replace('/', '-')}-${epoch}-${at}`
    return { name, id: hex(name) }
  })
}

export async function fail(rooms: Rooms, environment: EnvironmentName, wish: Wish): Promise<void> {
  const { change, key } = await open(rooms, request(rooms, environment, wish))
  await rooms.records.recordActivation({
    artifact: key.body.digest,
    body: {
      environment,
      epoch: change.epoch,
      change: change.change,
      outcome: 'failed',
      serving: change.from,
      instances: [],
      failure: { code: 'change_failed', message: 'not ready within 10s' },
    },
  })
}

export async function refuse(
  rooms: Rooms,
  environment: EnvironmentName,
  wish: Wish,
): Promise<void> {
  const wanted = request(rooms, environment, wish)
  const decision = await rooms.decideChange(wanted)
  if (decision.kind !== 'refused') throw new Error(`${wanted.id} was not refused`)
  const { rule, message } = decision
  await rooms.records.recordRefusal({ request: wanted, rule, message })
}

export async function liftHold(rooms: Rooms, environment: EnvironmentName): Promise<void> {
  const wanted = request(rooms, environment, { kind: 'release' })
  const decision = await rooms.decideChange(wanted)
  if (decision.kind !== 'release') throw new Error(`${environment} was not held`)
  await rooms.records.recordRelease({ request: wanted, hold: decision.hold })
}

export async function drift(rooms: Rooms, environment: EnvironmentName): Promise<void> {
  const { running } = environmentOf(rooms.ledger.ledger(), environment)
  const [first] = running
  const drifts = [
    {
      instance: first?.name ?? '',
      cause: 'stopped',
      found: 'ended with 137',
      expected: 'running',
    } as const,
  ]
  const wish: Wish = { kind: 'replacement', drifts }
  await rooms.records.recordDrifts({ request: request(rooms, environment, wish), drifts })
  await succeed(rooms, environment, wish)
}

export async function deny(
  { ledger, now, release, paths }: Rooms,
  artifact: Digest,
): Promise<void> {
  await ledger.decide({
    id: `denial ${artifact}`,
    signable: {
      kind: 'denial',
      time: now().toISOString(),
      version: release,
      artifact,
      app: 'hello',
      body: { reason: 'leaks', requestedBy: person.name },
    },
  })
  const fence = await openFence({ folder: paths.host })
  await fence.deny([artifact])
  fence.close()
}

/** A change in the middle of its work, and another that came too late for its epoch. */
export async function leaveOpen(
  rooms: Rooms,
  environment: EnvironmentName,
  wish: Wish,
): Promise<void> {
  const { input } = await open(rooms, request(rooms, environment, wish))
  const late = { ...input, request: request(rooms, environment, wish) }
  const lost = await rooms.records.recordChange(late)
  if (lost.kind !== 'lost') throw new Error('two changes under one epoch')
}
