import { randomBytes } from 'node:crypto'
import { jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { Access, RegistryPrincipal } from './access.ts'
import { isRepositoryName } from './name.ts'

/** How long a token is good for, in seconds: a pull of many layers asks for another in between. */
const lifetime = 300
/** A request that names more repositories than an image can come from is no pull. */
const mostScopes = 20

/**
 * The token flow of the distribution specification's clients: who asks without one is told where tokens are,
 * gets one there for its password, and shows it for the repositories that it asked for. Tokens are signed
 * with a key of this process and end with it.
 */
export type Tokens = {
  /** The value of `WWW-Authenticate`: where a token is had, and for what. */
  challenge(repository: string | null): string
  /** The token endpoint's answer for who showed a password. */
  issue(principal: RegistryPrincipal, scopes: readonly string[]): Promise<TokenAnswer>
  /** Takes a token as well as what `passwords` takes. */
  access: Access
}

export type TokenAnswer = {
  token: string
  access_token: string
  expires_in: number
  issued_at: string
}

const claims = z.object({
  sub: z.enum(['reader', 'host']),
  repositories: z.array(z.string()),
})

/** `name` gives the address under which it is reached, `host:port`; `passwords` says who has which. */
export function createTokens({
  name,
  passwords,
  now = () => new Date(),
}: {
  name: () => string
  passwords: Access
  now?: () => Date
}): Tokens {
  const key = randomBytes(32)
  return {
    challenge(repository) {
      const scope = repository === null ? '' : `,scope="repository:${repository}:pull"`
      return `Bearer realm="https://${name()}/token",service="${name()}"${scope}`
    },
    async issue({ kind }, scopes) {
      const issued = Math.floor(now().getTime() / 1000)
      const token = await new SignJWT({ repositories: repositoriesOf(scopes) })
        .setProtectedHeader({ alg: 'HS256' })
        .setIssuer(name())
        .setAudience(name())
        .setSubject(kind)
        .setIssuedAt(issued)
        .setExpirationTime(issued + lifetime)
        .sign(key)
      const issuedAt = new Date(issued * 1000).toISOString()
      return { token, access_token: token, expires_in: lifetime, issued_at: issuedAt }
    },
    async access(authorization) {
      const token = tokenIn(authorization)
      if (token === null) return passwords(authorization)
      const options = {
        issuer: name(),
        audience: name(),
        algorithms: ['HS256'],
        requiredClaims: ['exp'],
        currentDate: now(),
      }
      const checked = await jwtVerify(token, key, options).catch(() => null)
      const said = claims.safeParse(checked?.payload)
      return said.success ? { kind: said.data.sub, repositories: said.data.repositories } : null
    },
  }
}

/** A token has three parts; a password that is shown as a bearer has one. */
function tokenIn(authorization: string | undefined): string | null {
  return /^bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization ?? '')?.[1] ?? null
}

/** What is asked for to pull; all else that a scope may name is not given. */
function repositoriesOf(scopes: readonly string[]): string[] {
  const asked = scopes.flatMap((scope) => scope.split(' ')).slice(0, mostScopes)
  const names = asked.flatMap((scope) => {
    const [, repository = '', actions = ''] = /^repository:([^:]+):([a-z*,]+)$/.exec(scope) ?? []
    const pulls = actions.split(',').some((action) => action === 'pull' || action === '*')
    return pulls && isRepositoryName(repository) ? [repository] : []
  })
  return [...new Set(names)]
}
