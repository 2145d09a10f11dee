import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import type { Forge } from './forge.ts'
import { isBranchName } from './repository.ts'
import type { Headers } from './headers.ts'

/** What a delivery says happened. Nothing of it is believed: it says where to look. */
export type Hint =
  | { kind: 'push'; addresses: readonly string[]; branch: string; commit: string }
  | { kind: 'nothing'; reason: string }

/** One delivery's own names: the event, and the id that is the same when it is sent again. */
export type DeliveryNames = { event: string; id: string }

const names = {
  github: { event: 'x-github-event', ids: ['x-github-delivery'] },
  gitea: { event: 'x-gitea-event', ids: ['x-gitea-delivery'] },
  gitlab: {
    event: 'x-gitlab-event',
    ids: ['webhook-id', 'idempotency-key', 'x-gitlab-event-uuid'],
  },
} as const satisfies Record<Forge, { event: string; ids: readonly string[] }>

const idForm = /^[A-Za-z0-9][A-Za-z0-9_.:-]{7,127}$/
const eventForm = /^[A-Za-z0-9][A-Za-z0-9_ ]{0,63}$/

/** Throws `invalid_input` when a header that every forge sends is missing or odd. */
export function deliveryNames(forge: Forge, headers: Headers): DeliveryNames {
  const { event: eventName, ids } = names[forge]
  const event = headers[eventName]
  if (typeof event !== 'string' || !eventForm.test(event)) throw missing(eventName)
  const id = ids.map((name) => headers[name]).find((value) => value !== undefined)
  if (typeof id !== 'string' || !idForm.test(id)) throw missing(ids.join(' or '))
  return { event, id }
}

function missing(header: string): KilnError {
  return new KilnError(
    'invalid_input',
    `the header ${header} is missing or not as forges send it`,
    {
      place: header,
      fix: 'send the webhook from the forge itself, or as docs/webhooks.md shows',
    },
  )
}

const address = z.string().max(2048)
const commit = z.string().regex(/^[0-9a-f]{40}$/, 'not a commit')
const push = { ref: z.string().max(1024), before: commit, after: commit }
/** Only what is read; forges send far more, and add to it. */
const forms = {
  github: z.object({
    ...push,
    repository: z.object({ clone_url: address, ssh_url: address, html_url: address }),
  }),
  gitea: z.object({
    ...push,
    repository: z.object({ clone_url: address, ssh_url: address, html_url: address }),
  }),
  gitlab: z.object({
    ...push,
    object_kind: z.enum(['push', 'tag_push']),
    project: z.object({ git_http_url: address, git_ssh_url: address, web_url: address }),
  }),
} as const
const pushEvents = {
  github: ['push'],
  gitea: ['push'],
  gitlab: ['Push Hook', 'Tag Push Hook'],
} as const satisfies Record<Forge, readonly string[]>

const noCommit = '0'.repeat(40)

/** Reads a payload whose signature was checked. Throws `invalid_input` for a push that is not one. */
export function readHint(forge: Forge, event: string, body: string): Hint {
  const known: readonly string[] = pushEvents[forge]
  if (event === 'ping') return nothing('the webhook reaches Kiln')
  if (!known.includes(event)) return nothing(`the event ${event} says nothing of a branch`)
  const { ref, after, addresses } = readPush(forge, parsed(body))
  if (ref.startsWith('refs/tags/')) return nothing('tags are not built')
  const branch = ref.startsWith('refs/heads/') ? ref.slice('refs/heads/'.length) : ''
  if (!isBranchName(branch)) return nothing('the reference is not a branch with a plain name')
  if (after === noCommit) return nothing('the branch was deleted: what runs goes on')
  return { kind: 'push', addresses, branch, commit: after }
}

function nothing(reason: string): Hint {
  return { kind: 'nothing', reason }
}

function readPush(forge: Forge, value: unknown) {
  if (forge === 'gitlab') {
    const { ref, after, project } = checked(forms.gitlab, value)
    const { git_http_url: http, git_ssh_url: ssh, web_url: web } = project
    return { ref, after, addresses: [http, ssh, web] }
  }
  const { ref, after, repository } = checked(forms[forge], value)
  const { clone_url: clone, ssh_url: ssh, html_url: html } = repository
  return { ref, after, addresses: [clone, ssh, html] }
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch (cause) {
    throw new KilnError('invalid_input', 'the payload is not JSON', { cause })
  }
}

function checked<S extends z.ZodType>(form: S, value: unknown): z.output<S> {
  const result = form.safeParse(value)
  if (result.success) return result.data
  const fields = result.error.issues.slice(0, 5).map((issue) => issue.path.join('.') || 'payload')
  throw new KilnError('invalid_input', `the payload is not a push: ${fields.join(', ')}`, {
    place: fields[0] ?? 'payload',
  })
}
