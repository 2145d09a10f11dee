import { KilnError } from '../domain/error.ts'
import { digestOfJson } from '../../signing/canonical.ts'
import { environmentName, type EnvironmentName } from '../domain/name.ts'

/** Which workflow knows an operation, read from the operation's id alone. */
export type OperationPlace =
  | { kind: 'change'; workflow: string; environment: EnvironmentName }
  | { kind: 'own'; workflow: string }

export function environmentWorkflowId(environment: EnvironmentName): string {
  return `environment:${environment}`
}

const ownId =
  /^(delivery\.[0-9a-f]{16}(\.[a-z0-9-]{1,40})?|rebuild\.[0-9a-f]{16}|revocation\.[0-9a-f]{16}|rehearsal\.[0-9a-f]{16}|build:[0-9a-f]{64})$/
const changeForm = /^change\.([a-z0-9-]{1,40})\.([a-z0-9-]{1,40})\.[A-Za-z0-9._-]{1,80}$/

export function placeOf(operation: string): OperationPlace {
  if (ownId.test(operation)) return { kind: 'own', workflow: operation }
  const [, app, environment] = changeForm.exec(operation) ?? []
  if (app === undefined || environment === undefined) {
    throw new KilnError(
      'not_found',
      `no operation is called ${JSON.stringify(operation.slice(0, 100))}`,
      {
        fix: 'kiln operations',
      },
    )
  }
  const name = environmentName(app, environment)
  return { kind: 'change', workflow: environmentWorkflowId(name), environment: name }
}

/** Sixteen characters that name a request: the same words give the same id. */
export function tailFrom(...words: readonly string[]): string {
  return digestOfJson([...words]).slice('sha256:'.length, 'sha256:'.length + 16)
}

const fullCommit = /^[0-9a-f]{40}$/

/** Deliveries of one commit are one operation, whoever announces it; a branch is looked up anew each time. */
export function deliveryId(repository: string, revision: string, asked: string): string {
  return fullCommit.test(revision)
    ? `delivery.${tailFrom(repository, revision)}`
    : `delivery.${tailFrom(repository, revision, asked)}`
}
