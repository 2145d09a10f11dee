import { environmentOf, type Ledger } from '../../src/domain/ledger.ts'
import { servedBy } from '../../src/domain/plan.ts'
import { digestFor, hash, type Said } from '../helpers/facts.ts'
import type { Saying, Stored, Work } from './state.ts'

/** Under which id a decision is stored (src/ledger/change-records.ts). */
export function idOf(says: Saying, { change }: Work): string {
  const { change: request = '', environment = '', epoch = 0 } = change ?? {}
  if (says === 'change') return `change ${request} ${epoch}`
  return `${says === 'key' ? 'key' : 'activation'} ${environment} ${epoch}`
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

function activation(says: Saying, { before, change, key: own }: Work, ledger: Ledger): Said {
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
      instances: [],
      failure: null,
    },
  }
}

/** The same words signed anew have another leaf: `time` tells the signatures apart. */
export function signed(id: string, content: Said, time: number): Stored {
  return { said: content, leaf: `${id}#${hash(JSON.stringify(content)).slice(0, 8)}.${time}` }
}
