import { z } from 'zod'
import { plainPath, type Access } from './access.ts'
import { forges, standardApi, type Forge } from './forge.ts'
import { parseRepository, type Repository, type RepositoryRules } from './repository.ts'
import { isSamePlace, placeOf } from './same-repository.ts'

const file = z.string().regex(plainPath, 'wanted the absolute path of a file, of plain characters')
const user = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$/, 'wanted a plain user name')
const api = z
  .string()
  .max(500)
  .refine(isApiAddress, 'wanted https://<host>/<path> without user, query and fragment')

const entry = z
  .strictObject({
    address: z.string().min(1).max(2048),
    ssh: z.strictObject({ keyFile: file, knownHostsFile: file }).optional(),
    token: z.strictObject({ tokenFile: file, user: user.default('x-access-token') }).optional(),
    forge: z.enum(forges).optional(),
    webhook: z.strictObject({ secretFile: file }).optional(),
    status: z.strictObject({ tokenFile: file, api: api.optional() }).optional(),
  })
  .superRefine((one, issues) => {
    const fault = entryFault(one)
    if (fault !== undefined) issues.addIssue({ code: 'custom', message: fault })
  })

/** The form of `repositories.yaml`. Secrets stand in files of their own, which it names. */
export const repositoriesForm = z.strictObject({
  version: z.literal(1),
  repositories: z.array(entry).max(1000).superRefine(refuseTwins),
})

/** What people said of one repository: how git asks it, and what its forge sends and is told. */
export type KnownRepository = z.output<typeof entry>

type Given = {
  address: string
  ssh?: unknown
  token?: unknown
  forge?: Forge | undefined
  webhook?: unknown
  status?: unknown
}

function entryFault({ address, ssh, token, forge, webhook, status }: Given): string | undefined {
  const isHttps = address.startsWith('https://')
  if (ssh !== undefined && token !== undefined) return 'give a key or a token, not both'
  if (ssh !== undefined && (isHttps || address.startsWith('/'))) return 'a key needs an ssh address'
  if (token !== undefined && !isHttps) return 'a token needs an https address'
  if (forge === undefined && (webhook !== undefined || status !== undefined))
    return `say which forge it is: ${forges.join(', ')}`
  return undefined
}

function refuseTwins(entries: readonly { address: string }[], issues: z.RefinementCtx): void {
  for (const [at, { address }] of entries.entries()) {
    const twin = entries.findIndex(
      (other) => other.address === address || isSamePlace(other.address, address),
    )
    if (twin < at) {
      issues.addIssue({ code: 'custom', path: [at, 'address'], message: 'is there already' })
    }
  }
}

/** https, but for a server on this machine; nothing in it that a request would carry on. */
function isApiAddress(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || url.username !== '' || url.password !== '') return false
  if (url.search !== '' || url.hash !== '' || text.endsWith('/')) return false
  return (
    url.protocol === 'https:' ||
    (url.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname))
  )
}

/** What people said of the repository with this address, however they wrote it. */
export function knownAs(
  known: readonly KnownRepository[],
  address: string,
): KnownRepository | undefined {
  return (
    known.find((one) => one.address === address) ??
    known.find((one) => isSamePlace(one.address, address))
  )
}

/** How git asks a repository. A key is for ssh and a token for https, also of the same repository. */
export function accessTo(known: readonly KnownRepository[], repository: Repository): Access {
  const one = knownAs(known, repository.url)
  if (repository.kind === 'ssh' && one?.ssh !== undefined) return { kind: 'ssh-key', ...one.ssh }
  if (repository.kind === 'https' && one?.token !== undefined)
    return { kind: 'token', ...one.token }
  return { kind: 'none' }
}

/** Where the forge of a repository takes commit statuses, its path among the forge's, and whose token. */
export type StatusPlace = { forge: Forge; api: string; path: string; tokenFile: string }

export function statusPlaceOf(
  known: readonly KnownRepository[],
  address: string,
): StatusPlace | undefined {
  const one = knownAs(known, address)
  const place = one === undefined ? undefined : placeOf(one.address)
  if (one?.status === undefined || one.forge === undefined || place === undefined) return undefined
  return {
    forge: one.forge,
    api: one.status.api ?? standardApi(one.forge, place.host),
    path: place.path,
    tokenFile: one.status.tokenFile,
  }
}

/** Throws `invalid_repository` for an address that git would never be given. */
export function checkAddress(address: string, rules: RepositoryRules): void {
  parseRepository(address, rules)
}
