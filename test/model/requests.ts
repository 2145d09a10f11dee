import type { EnvironmentName } from '../../src/domain/name.ts'
import type { ChangeRequest, Wish } from '../../src/domain/request.ts'
import { artifacts, dev, prod, type Work } from './state.ts'

export type Asked = {
  environment: EnvironmentName
  name: string
  wish: Exclude<Wish, { kind: 'release' }>
}

/** What issues keys. */
export const keys: readonly Asked[] = [
  { environment: dev, name: 'promote a to dev', wish: promotion('a') },
  { environment: dev, name: 'promote b to dev', wish: promotion('b') },
  { environment: prod, name: 'promote a to prod', wish: promotion('a') },
  { environment: dev, name: 'roll dev back', wish: { kind: 'rollback', to: null } },
]

export const everything: readonly Asked[] = [
  ...keys,
  { environment: dev, name: 'scale dev to 2', wish: { kind: 'scale', instances: 2 } },
]

function promotion(name: 'a' | 'b'): Extract<Wish, { kind: 'promotion' }> {
  return { kind: 'promotion', digest: artifacts[name], automatic: false }
}

/** What follows a denial: away from what was denied (src/promote/denial-activities.ts, `returnDenied`). */
export function returning(environment: EnvironmentName, epoch: number): Work {
  return work(environment, `return.${environment}.${epoch}`, { kind: 'return' })
}

export function work(environment: EnvironmentName, id: string, wish: Wish): Work {
  const request: ChangeRequest = {
    id,
    environment,
    wish,
    reason: '',
    principal: { name: 'model', kind: 'token' },
    requestedAt: '',
  }
  return { request, tries: 0, change: null, before: null, key: null, made: null }
}

/** What the loss of work, or of a race, is followed by: a replacement (workflows/environment.ts, `next`). */
export function replacement(environment: EnvironmentName, epoch: number): Work {
  const drift = { instance: 'x', cause: 'unknown', found: '', expected: '' } as const
  return work(environment, `replacement.${environment}.${epoch}`, {
    kind: 'replacement',
    drifts: [drift],
  })
}
