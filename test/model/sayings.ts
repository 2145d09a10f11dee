import { environmentOf, type Ledger } from '../../src/domain/ledger.ts'
import { servedBy } from '../../src/domain/plan.ts'
import type { ActivationBody, ChangeBody } from '../../src/domain/statement.ts'
import { digestFor, hash, type Said } from '../helpers/facts.ts'
import { chainOf } from './logs.ts'
import type { Saying, State, Stored, Work } from './state.ts'

/**
 * Under which id a decision is stored (src/ledger/change-records.ts). The first outcome of a change may be
 * void, as when its key was logged meanwhile: the next one stands under an id of its own.
 */
export function idOf(says: Saying, { change }: Work, { log, stored }: State): string {
  if (change === null) throw new Error('a decision without a change')
  const { environment, epoch } = change
  if (says === 'change') return `change ${change.change} ${epoch}`
  if (says === 'key') return `key ${environment} ${epoch}`
  const id = `activation ${environment} ${epoch}`
  const first = stored[id]
  const isVoid = first !== undefined && chainOf(log, environment).ledger.void.has(first.leaf)
  return isVoid ? `${id} again` : id
}

/** What is said, against the ledger of this moment. */
export function said(says: Saying, work: Work, ledger: Ledger): Said {
  const { change } = work
  if (change === null) throw new Error('nothing to say without a change')
  if (says === 'change') return { kind: 'change', artifact: change.target.digest, body: change }
  return says === 'key' ? key(work, ledger) : activation(says, work, ledger)
}

function key({ change }: Work, ledger: Ledger): Said {
  if (change === null) throw new Error('a key without a change')
  const state = environmentOf(ledger, change.environment)
  const issued = state.pending
  return {
    kind: 'key',
    artifact: change.target.digest,
    body: {
      environment: change.environment,
      sequence: issued?.body.sequence ?? state.sequence + 1,
      epoch: change.epoch,
      previous: issued === null ? state.lastKey : issued.body.previous,
      rollbackTo: change.rollbackTo,
      digest: change.target.digest,
      definition: change.target.definition,
      template: digestFor('lock'),
      commit: '',
      requestedBy: 'model',
      approvedBy: [],
      plan: change.plan,
    },
  }
}

function activation(says: Saying, work: Work, ledger: Ledger): Said {
  const { before, change, key: own } = work
  if (change === null) throw new Error('an outcome without a change')
  const { pending } = environmentOf(ledger, change.environment)
  const isActive = says === 'active'
  return {
    kind: 'activation',
    artifact: change.target.digest,
    body: {
      environment: change.environment,
      epoch: change.epoch,
      change: change.change,
      outcome: isActive ? 'active' : 'failed',
      key: pending?.leaf ?? null,
      serving: servedBy(isActive ? own : before),
      instances: isActive ? servingOf(work).map((name) => ({ name, id: name })) : [],
      failure: failureOf(says, change),
    },
  }
}

/** Only of a return is it asked why it failed (src/domain/plan-return.ts, `returnFailed`). */
function failureOf(says: Saying, { changeKind }: ChangeBody): ActivationBody['failure'] {
  if (says === 'active' || changeKind !== 'return') return null
  return { code: says === 'failed' ? 'change_failed' : 'internal', message: '' }
}

/** Names of what a change has started or kept. */
export function servingOf({ change, made }: Work): readonly string[] {
  const { count = 0, keep = [] } = made ?? {}
  const started = Array.from({ length: count }, (_, at) => `${change?.epoch}.${at + 1}`)
  return [...keep, ...started]
}

/** The same words signed anew have another leaf: `time` tells the signatures apart. */
export function signed(
  id: string,
  content: Said,
  { work, time }: { work: Work; time: number },
): Stored {
  const { change } = work
  if (change === null) throw new Error('a bundle without a change')
  const { environment, epoch } = change
  const request = content.kind === 'change' ? change.change : null
  const leaf = `${id}#${hash(JSON.stringify(content)).slice(0, 8)}.${time}`
  return { id, said: content, leaf, environment, epoch, request }
}
