import { z } from 'zod'
import type { Facts, FileFact } from './fact.ts'

/** One piece of software inside an artifact. */
export type Package =
  | {
      kind: 'debian'
      name: string
      version: string
      architecture: string
      /** The source package it was built from: what security notices speak of. */
      source: string
      maintainer: string | null
    }
  | { kind: 'npm'; name: string; version: string | null; license: string | null }
  | { kind: 'node'; version: string | null }

export type Distribution = { id: string; codename: string | null }

/** What the facts of an image say is inside; each piece once, in no order. */
export function packagesOf(facts: Facts): readonly Package[] {
  return [...facts.values()].flatMap((fact): readonly Package[] => {
    switch (fact.kind) {
      case 'dpkg':
        return parseStatus(fact.text)
      case 'npm':
        return [npmPackage(fact)]
      case 'node':
        return [{ kind: 'node', version: fact.version }]
      case 'os':
        return []
    }
  })
}

export function distributionOf(facts: Facts): Distribution {
  const text = facts.get('usr/lib/os-release')
  const value = (name: string) =>
    text?.kind === 'os'
      ? new RegExp(`^${name}="?([A-Za-z0-9._-]+)"?$`, 'm').exec(text.text)?.[1]
      : undefined
  return { id: value('ID') ?? 'debian', codename: value('VERSION_CODENAME') ?? null }
}

/** dpkg's status file: what is installed, and what is half so; not what is only known or left over. */
function parseStatus(text: string): readonly Package[] {
  return text
    .split(/\n\n+/)
    .map(fieldsOf)
    .filter((fields) => {
      const state = fields.get('Status')?.split(' ').at(-1)
      return state !== undefined && state !== 'not-installed' && state !== 'config-files'
    })
    .map((fields) => {
      const name = fields.get('Package') ?? ''
      const [source = name] = (fields.get('Source') ?? name).split(' ')
      return {
        kind: 'debian' as const,
        name,
        version: fields.get('Version') ?? '',
        architecture: fields.get('Architecture') ?? '',
        source,
        maintainer: fields.get('Maintainer') ?? null,
      }
    })
    .filter(({ name }) => name !== '')
}

/** The first lines of a stanza's fields; continuation lines hold nothing that is read here. */
function fieldsOf(stanza: string): ReadonlyMap<string, string> {
  return new Map(
    stanza
      .split('\n')
      .map((line) => /^([A-Za-z-]+): (.*)$/.exec(line))
      .filter((found) => found !== null)
      .map(([, name = '', value = '']) => [name, value.trim()] as const),
  )
}

const packageJson = z.object({
  name: z
    .string()
    .regex(/^(@[\w.~-]+\/)?[\w.~-]+$/)
    .max(214)
    .optional()
    .catch(undefined),
  version: z
    .string()
    .regex(/^[\w.+-]+$/)
    .max(256)
    .optional()
    .catch(undefined),
  license: z
    .union([z.string(), z.object({ type: z.string() }).transform(({ type }) => type)])
    .optional()
    .catch(undefined),
})

/** A package whose package.json cannot be read is still there: it goes by its folder, without a version. */
function npmPackage({ folder, text }: Extract<FileFact, { kind: 'npm' }>): Package {
  const found = packageJson.safeParse(jsonOf(text))
  const { name, version, license } = found.success ? found.data : {}
  return {
    kind: 'npm',
    name: name ?? folder,
    version: version ?? null,
    license: license?.slice(0, 200) ?? null,
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''))
  } catch {
    return undefined
  }
}
