/**
 * Every error that Kiln reports, with what follows from it.
 *
 * `retryable`: trying the same call again can help (Temporal's retry policy reads it).
 * `exit`: the command line's exit code. 1 failed or rolled back, 2 usage or bad input, 3 prerequisite,
 *   4 sign-in, 5 refused by a rule, 6 stale or locked, 7 wait timed out, 8 verification failed.
 * `http`: the API's status.
 * Each code has a section in docs/errors.md; a test compares the two.
 */
export const errors = {
  // bad input
  invalid_input: { retryable: false, exit: 2, http: 400 },
  invalid_yaml: { retryable: false, exit: 2, http: 422 },
  invalid_dockerfile: { retryable: false, exit: 2, http: 422 },
  invalid_archive: { retryable: false, exit: 2, http: 422 },
  invalid_repository: { retryable: false, exit: 2, http: 422 },
  invalid_image: { retryable: false, exit: 2, http: 422 },
  method_not_allowed: { retryable: false, exit: 2, http: 405 },
  not_found: { retryable: false, exit: 2, http: 404 },
  commit_not_found: { retryable: false, exit: 2, http: 404 },
  ambiguous: { retryable: false, exit: 2, http: 409 },
  // locks and inputs
  lock_missing: { retryable: false, exit: 2, http: 422 },
  lock_mismatch: { retryable: false, exit: 8, http: 422 },
  input_unavailable: { retryable: false, exit: 3, http: 422 },
  // building
  build_failed: { retryable: false, exit: 1, http: 422 },
  fetch_failed: { retryable: false, exit: 1, http: 422 },
  not_reproducible: { retryable: false, exit: 8, http: 422 },
  // rules
  refused: { retryable: false, exit: 5, http: 409 },
  forbidden: { retryable: false, exit: 5, http: 403 },
  unauthenticated: { retryable: false, exit: 4, http: 401 },
  // the ledger and what is verified
  verification_failed: { retryable: false, exit: 8, http: 422 },
  digest_mismatch: { retryable: false, exit: 8, http: 422 },
  ledger_corrupt: { retryable: false, exit: 8, http: 500 },
  ledger_forked: { retryable: false, exit: 8, http: 500 },
  lost_race: { retryable: false, exit: 6, http: 409 },
  fenced: { retryable: false, exit: 6, http: 409 },
  // changes
  change_failed: { retryable: false, exit: 1, http: 409 },
  wait_timeout: { retryable: false, exit: 7, http: 504 },
  secret_unavailable: { retryable: false, exit: 3, http: 422 },
  low_disk: { retryable: false, exit: 3, http: 507 },
  overloaded: { retryable: true, exit: 6, http: 429 },
  // prerequisites and outages
  prerequisite_missing: { retryable: false, exit: 3, http: 500 },
  not_fresh: { retryable: true, exit: 3, http: 503 },
  not_running: { retryable: false, exit: 3, http: 503 },
  already_running: { retryable: false, exit: 6, http: 409 },
  store_unsuitable: { retryable: false, exit: 3, http: 500 },
  store_unavailable: { retryable: true, exit: 3, http: 503 },
  docker_unavailable: { retryable: true, exit: 3, http: 503 },
  signer_unavailable: { retryable: true, exit: 3, http: 503 },
  repository_unavailable: { retryable: true, exit: 3, http: 503 },
  registry_unavailable: { retryable: true, exit: 3, http: 503 },
  edge_unavailable: { retryable: true, exit: 3, http: 503 },
  internal: { retryable: true, exit: 1, http: 500 },
} as const satisfies Record<string, { retryable: boolean; exit: number; http: number }>

export type ErrorCode = keyof typeof errors

/** Where the fault is, in the words of its kind: `kiln.yaml:6:11`, `Dockerfile:3 FROM`, `entry ../etc/passwd`. */
export type Explanation = {
  cause?: unknown
  place?: string
  /** What to do about it, as one line or a command. */
  fix?: string
  /** The last lines of a log, when they explain the failure. */
  lines?: readonly string[]
}

export class KilnError extends Error {
  override readonly name = 'KilnError'
  readonly code: ErrorCode
  readonly place: string | undefined
  readonly fix: string | undefined
  readonly lines: readonly string[]

  constructor(code: ErrorCode, message: string, options: Explanation = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.code = code
    this.place = options.place
    this.fix = options.fix
    this.lines = options.lines ?? []
  }

  get retryable(): boolean {
    return errors[this.code].retryable
  }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errors, text)
}
