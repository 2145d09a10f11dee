import type { StatusPlace } from './known-repository.ts'

/** The words that GitHub and Gitea have; `failure` is the commit's fault, `error` is not. */
export type CommitState = 'pending' | 'success' | 'failure' | 'error'

export type CommitStatus = {
  commit: string
  state: CommitState
  /** `kiln/<app>`, or `kiln` while the app is not known. */
  context: string
  description: string
  /** Where a person can follow it; absent without a public address. */
  targetUrl?: string
}

/** The shortest of what the forges take, in characters. */
const maxDescription = 140

export type StatusRequest = { url: string; headers: Record<string, string>; body: string }

const common = { 'content-type': 'application/json', 'user-agent': 'kiln' } as const
const gitlabStates = {
  pending: 'pending',
  success: 'success',
  failure: 'failed',
  error: 'failed',
} as const satisfies Record<CommitState, string>

/** One status as its forge's API takes it: GitHub's and Gitea's create-a-status, GitLab's set-the-status. */
export function statusRequest(
  { forge, api, path }: StatusPlace,
  status: CommitStatus,
  token: string,
): StatusRequest {
  const description = short(status.description)
  const target = status.targetUrl === undefined ? {} : { target_url: status.targetUrl }
  const plain = JSON.stringify({
    state: status.state,
    context: status.context,
    description,
    ...target,
  })
  const segments = path.split('/').map(encodeURIComponent).join('/')
  switch (forge) {
    case 'github':
      return {
        url: `${api}/repos/${segments}/statuses/${status.commit}`,
        headers: {
          ...common,
          accept: 'application/vnd.github+json',
          authorization: `Bearer ${token}`,
          'x-github-api-version': '2022-11-28',
        },
        body: plain,
      }
    case 'gitea':
      return {
        url: `${api}/repos/${segments}/statuses/${status.commit}`,
        headers: { ...common, accept: 'application/json', authorization: `token ${token}` },
        body: plain,
      }
    case 'gitlab':
      return {
        url: `${api}/projects/${encodeURIComponent(path)}/statuses/${status.commit}`,
        headers: { ...common, accept: 'application/json', 'private-token': token },
        body: JSON.stringify({
          state: gitlabStates[status.state],
          name: status.context,
          description,
          ...target,
        }),
      }
  }
}

function short(text: string): string {
  const letters = Array.from(text.replace(/[\p{Cc}\p{Cs}]+/gu, ' '))
  return letters.length <= maxDescription
    ? letters.join('')
    : `${letters.slice(0, maxDescription - 1).join('')}…`
}

/** What a forge answered; headers by their names in lower case. */
export type StatusAnswer = { status: number; headers: Headers; text: string }

export type StatusVerdict =
  | { kind: 'written' }
  /** It may be taken later; not before `afterMs`, where the forge says so. */
  | { kind: 'again'; afterMs: number | null; reason: string }
  | { kind: 'refused'; reason: string }

export function judgeStatusAnswer(answer: StatusAnswer, now: Date): StatusVerdict {
  const { status, headers, text } = answer
  if (status === 200 || status === 201) return { kind: 'written' }
  // GitLab's words for a status that stands there already.
  if (status === 400 && /Cannot transition status/i.test(text)) return { kind: 'written' }
  const limited = status === 403 && (headers.has('retry-after') || spent(headers))
  if (status === 429 || status >= 500 || limited) {
    return { kind: 'again', afterMs: waitMs(headers, now), reason: `it answered ${status}` }
  }
  return { kind: 'refused', reason: `it answered ${status}${meaning[status] ?? ''}` }
}

const meaning: Readonly<Record<number, string>> = {
  401: ': the token is not valid',
  403: ': the token may not write statuses of this repository',
  404: ': it knows no such repository, or the token may not see it',
  422: ': it knows no such commit, or has too many statuses of it',
}

function spent(headers: Headers): boolean {
  return headers.get('x-ratelimit-remaining') === '0'
}

/** `Retry-After` in seconds or as a date, else the time at which GitHub's limit ends; null for neither. */
function waitMs(headers: Headers, now: Date): number | null {
  const after = headers.get('retry-after')
  if (after !== null) {
    const date = /^[0-9]{1,9}$/.test(after)
      ? now.getTime() + Number(after) * 1000
      : Date.parse(after)
    return Number.isNaN(date) ? null : Math.max(0, date - now.getTime())
  }
  const reset = headers.get('x-ratelimit-reset')
  if (!spent(headers) || reset === null || !/^[0-9]{1,12}$/.test(reset)) return null
  return Math.max(0, Number(reset) * 1000 - now.getTime())
}
