import type { Client } from '../api/client.ts'
import type { AnswerOf } from '../api/contract.ts'
import { isDigest, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { environmentName, parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'

export type Place = { app: string; environment: string; name: EnvironmentName }
export type Tile = AnswerOf<'environments'>['items'][number]
export type Environment = AnswerOf<'environment'>

/** `hello/prod`, or `prod` where only one app has an environment of that name. */
export async function findPlace(kiln: Client, text: string): Promise<Place> {
  if (text.includes('/')) return parseEnvironmentName(text)
  const { items } = await kiln.environments({})
  const found = items.filter(({ environment }) => environment === text)
  const [first, second] = found
  if (first === undefined) {
    throw new KilnError('not_found', `no app has an environment ${JSON.stringify(text)}`, {
      fix: 'kiln environments lists what there is',
    })
  }
  if (second !== undefined) {
    throw new KilnError('ambiguous', `${text} could be ${first.name} or ${second.name}`, {
      fix: `write ${first.name}`,
    })
  }
  return { ...first, name: environmentName(first.app, first.environment) }
}

/** The path's part of a request about an environment. */
export function placeOf({ app, environment }: { app: string; environment: string }) {
  return { app, environment }
}

/** A digest in full, from its beginning where that is unique. */
export async function findDigest(kiln: Client, text: string): Promise<Digest> {
  if (isDigest(text)) return text
  if (!/^(sha256:)?[0-9a-f]{6,64}$/.test(text)) {
    throw new KilnError('invalid_input', `not a digest: ${JSON.stringify(text)}`, {
      fix: 'write sha256: and 64 hexadecimal characters, or at least the first 6 of them',
    })
  }
  const { digest } = await kiln.artifact({ params: { digest: text } })
  return digest
}
