import { KilnError } from '../domain/error.ts'
import {
  judgeStatusAnswer,
  statusRequest,
  type CommitStatus,
  type StatusVerdict,
} from './commit-status.ts'
import type { StatusPlace } from './known-repository.ts'

export type StatusWriterDependencies = {
  readSecret: (path: string) => Promise<string>
  /** Resolves after so many milliseconds; rejects when the signal aborts. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>
  now: () => Date
  /** How long one answer may take, and all tries together, in milliseconds. */
  answerMs: number
  totalMs: number
}

/** What came of it, in words without the token. */
export type StatusOutcome = { written: boolean; detail: string }

const firstWaitMs = 1000

/**
 * Writes one status, again and again while the forge is away or busy, never before it wants to be asked
 * again. Writing the same one twice changes nothing. Never throws but when the signal aborts: a commit's
 * fate does not hang on whether its forge was told.
 */
export async function writeCommitStatus(
  dependencies: StatusWriterDependencies,
  { place, status, signal }: { place: StatusPlace; status: CommitStatus; signal: AbortSignal },
): Promise<StatusOutcome> {
  const { readSecret, sleep, now, totalMs } = dependencies
  let token: string
  try {
    token = await readSecret(place.tokenFile)
  } catch (error) {
    const reason = error instanceof KilnError ? error.message : 'it cannot be read'
    return { written: false, detail: `no status: ${place.tokenFile}: ${reason}` }
  }
  const end = now().getTime() + totalMs
  for (let waited = firstWaitMs; ; waited *= 2) {
    const verdict = await ask(dependencies, { place, status, token, signal })
    if (verdict.kind === 'written') return { written: true, detail: `${status.state} is shown` }
    if (verdict.kind === 'refused') {
      return { written: false, detail: `the forge refuses the status: ${verdict.reason}` }
    }
    const wait = verdict.afterMs ?? waited
    if (now().getTime() + wait > end) {
      return { written: false, detail: `the forge took no status in time: ${verdict.reason}` }
    }
    await sleep(wait, signal)
  }
}

type Question = { place: StatusPlace; status: CommitStatus; token: string; signal: AbortSignal }

async function ask(
  { answerMs, now }: StatusWriterDependencies,
  { place, status, token, signal }: Question,
): Promise<StatusVerdict> {
  const { url, headers, body } = statusRequest(place, status, token)
  const both = AbortSignal.any([signal, AbortSignal.timeout(answerMs)])
  try {
    // A redirect is an answer: the token goes to the address that people named, and no other.
    const answer = await fetch(url, {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: both,
    })
    const text = (await answer.text()).slice(0, 10_000)
    return judgeStatusAnswer({ status: answer.status, headers: answer.headers, text }, now())
  } catch {
    signal.throwIfAborted()
    const reason = both.aborted ? 'it did not answer in time' : 'it cannot be reached'
    return { kind: 'again', afterMs: null, reason }
  }
}
