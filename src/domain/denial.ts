import type { Digest } from './digest.ts'
import type { Principal } from './statement.ts'

/** What somebody wants never to start again. */
export type DeniedSubject = { kind: 'artifact'; digest: Digest }

/** One request to deny something; `id` is the operation's. */
export type DenialRequest = {
  id: string
  subject: DeniedSubject
  reason: string
  principal: Principal
  requestedAt: string
}

/** The subject as people write it. */
export function subjectText(subject: DeniedSubject): string {
  return subject.digest
}
