import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import { readYaml } from './read-yaml.ts'
import { kilnYaml, knownKeys } from './schema.ts'
import { parseSpecification, specificationFile, type Specification } from './specification.ts'

/** One app of a repository that holds several. */
export type AppEntry = {
  /** Its folder; `<path>/kiln.yaml` says what it is. */
  path: string
  /** Files outside of it that count as its own when it is asked what changed. */
  changes: readonly string[]
  /** Folders of the repository that are put into its context, each at a place of its own. */
  include: readonly { from: string; to: string }[]
}

/** What the kiln.yaml at a repository's top says: one app, or where the apps are. */
export type RootFile =
  | { kind: 'app'; specification: Specification }
  | { kind: 'apps'; apps: readonly AppEntry[] }

const part = '[A-Za-z0-9_@+][A-Za-z0-9._@+-]*'
const folder = z
  .string()
  .max(200)
  .regex(
    new RegExp(`^${part}(/${part})*$`),
    'must be a plain path from the top of the repository, such as services/shop',
  )
const patternPart = '(\\*\\*|[A-Za-z0-9_@+*.-]+)'
const pattern = z
  .string()
  .max(200)
  .regex(
    new RegExp(`^${patternPart}(/${patternPart})*$`),
    'must be a path from the top of the repository; * stands for any name, ** for any folders',
  )
  .refine((text) => !text.split('/').some((one) => one === '.' || one === '..'), {
    message: 'must not hold . or .. parts',
  })
  .refine(isSimple, { message: 'must hold at most two ** and two * in a name' })

/** More stars would let a pattern take very long on an unlucky name. */
function isSimple(text: string): boolean {
  const parts = text.split('/')
  const names = parts.filter((one) => one !== '**')
  return parts.length - names.length <= 2 && names.every((one) => one.split(/\*+/).length <= 3)
}

const include = z.strictObject({ from: folder, to: folder })
const app = z.strictObject({
  path: folder,
  changes: z.array(pattern).max(50).default([]),
  include: z.array(include).max(20).default([]),
})

const monorepo = z.strictObject({
  version: z.literal(1, 'must be 1'),
  apps: z.array(app).min(1, 'must name at least one app').max(100).superRefine(distinct),
})

type Apps = z.output<typeof app>[]

function distinct(apps: Apps, context: z.RefinementCtx): void {
  const refuse = (message: string, path: (string | number)[]) =>
    context.addIssue({ code: 'custom', message, path })
  for (const [at, one] of apps.entries()) {
    const other = apps.slice(0, at).find(({ path }) => touch(path, one.path))
    if (other !== undefined) refuse(`${one.path} and ${other.path} lie in each other`, [at, 'path'])
    for (const [index, { from, to }] of one.include.entries()) {
      const place = [at, 'include', index]
      if (touch(from, one.path)) refuse(`${from} is the app itself`, [...place, 'from'])
      const twice = one.include.slice(0, index).some((before) => touch(before.to, to))
      if (twice) refuse(`two folders are put at ${to}`, [...place, 'to'])
      if (touch(to, specificationFile)) refuse('kiln.yaml is the app’s own', [...place, 'to'])
    }
  }
}

/** Whether one is the other, or lies in it. */
function touch(one: string, other: string): boolean {
  return one === other || one.startsWith(`${other}/`) || other.startsWith(`${one}/`)
}

const monorepoKeys = {
  '': Object.keys(monorepo.shape),
  apps: Object.keys(app.shape),
  'apps.include': Object.keys(include.shape),
}

type Given = z.output<typeof monorepo> | z.output<typeof kilnYaml>

/** Reads the kiln.yaml at a repository's top. Throws `invalid_yaml`, as `readYaml` does. */
export function parseRoot(bytes: Uint8Array): RootFile {
  const given = readYaml<Given>(bytes, {
    file: specificationFile,
    form: (keys) =>
      keys.includes('apps')
        ? { schema: monorepo, knownKeys: monorepoKeys }
        : { schema: kilnYaml, knownKeys },
  })
  if ('apps' in given) return { kind: 'apps', apps: given.apps }
  return { kind: 'app', specification: parseSpecification(bytes) }
}

/** The entry of an app's folder; throws `not_found` with those that there are. */
export function entryOf(root: RootFile, path: string): AppEntry {
  const apps = root.kind === 'apps' ? root.apps : []
  const entry = apps.find((one) => one.path === path)
  if (entry !== undefined) return entry
  const known = apps.map((one) => one.path).join(', ')
  throw new KilnError('not_found', `kiln.yaml names no app at ${path}`, {
    place: specificationFile,
    fix: known === '' ? 'the repository is one app' : `there are: ${known}`,
  })
}
