import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { foundation, toolsOf } from './image-inputs.ts'
import type { ImageInputs } from './images.ts'
import type { ContainerLock, DebianLock, Lock } from './lock-file.ts'
import type { TemplateFolder } from './read-template.ts'

/** One input that is not what the lock says. */
export type Difference = { input: string; locked: string; found: string }

/** A base template as its own check found it. */
export type CheckedBase = { name: string; lock: Digest; image: Digest }

/** Compares a template's folder with its lock, input by input. Pure. `base` is null for a Debian template. */
export function compareLock(
  lock: Lock,
  folder: TemplateFolder,
  base: CheckedBase | null,
): Difference[] {
  const common = differing([
    ['template.yaml', lock.template, folder.digest],
    ['kind', lock.kind, folder.kind],
    ['architecture', lock.architecture, folder.template.architecture],
  ])
  if (lock.kind === 'debian' && folder.kind === 'debian') {
    return [...common, ...compareDebian(lock, folder)]
  }
  if (lock.kind === 'container' && folder.kind === 'container') {
    return [...common, ...compareContainer(lock, folder, base)]
  }
  return common
}

function compareDebian(
  lock: DebianLock,
  { template }: Extract<TemplateFolder, { kind: 'debian' }>,
): Difference[] {
  const locked = new Set(lock.packages.map(({ name }) => name))
  const wanted = [...foundation.filter((name) => !name.startsWith('?')), ...template.packages]
  return [
    ...differing([['suite', lock.suite, template.suite]]),
    ...wanted
      .filter((name) => !locked.has(name))
      .map((name) => ({
        input: `package ${name}`,
        locked: 'nothing',
        found: 'the template needs it',
      })),
    ...repeated(lock.packages.map(({ name }) => name)).map((name) => ({
      input: `package ${name}`,
      locked: 'two entries',
      found: 'one name',
    })),
  ]
}

function compareContainer(
  lock: ContainerLock,
  { dockerfile, files, template }: Extract<TemplateFolder, { kind: 'container' }>,
  base: CheckedBase | null,
): Difference[] {
  const wanted = [
    ...toolsOf(template).map(({ tool }) => `${tool.npm}@${tool.version}`),
    ...(template.wheels ?? []).map(({ pypi, version }) => `${pypi}==${version}`),
  ]
  const locked = [
    ...lock.tools.map(({ npm, version }) => `${npm}@${version}`),
    ...(lock.wheels ?? []).map(({ pypi, version }) => `${pypi}==${version}`),
  ]
  return [
    ...differing([
      ['Dockerfile', lock.dockerfile, dockerfile.digest],
      ['files/', lock.files ?? 'nothing', files?.digest ?? 'nothing'],
      ['base', lock.base.name, template.base],
      [`template.lock of ${template.base}`, lock.base.lock, base?.lock ?? 'nothing'],
      [`image of ${template.base}`, lock.base.image, base?.image ?? 'nothing'],
    ]),
    ...wanted
      .filter((tool) => !locked.includes(tool))
      .map((tool) => ({
        input: `tool ${tool}`,
        locked: 'nothing',
        found: 'template.yaml names it',
      })),
    ...locked
      .filter((tool) => !wanted.includes(tool))
      .map((tool) => ({
        input: `tool ${tool}`,
        locked: 'an entry',
        found: 'no such tool in template.yaml',
      })),
    ...(wanted.length === locked.length
      ? []
      : [{ input: 'tools', locked: `${locked.length} entries`, found: `${wanted.length} tools` }]),
  ]
}

/** What made the locked images, against what the lock's entries say now. */
export function compareInputs(locked: ImageInputs, recorded: ImageInputs): Difference[] {
  const names = [...new Set([...Object.keys(locked), ...Object.keys(recorded)])].toSorted()
  return differing(
    names.map((name) => [name, locked[name] ?? 'nothing', recorded[name] ?? 'nothing']),
  )
}

function differing(rows: readonly (readonly [string, string, string])[]): Difference[] {
  return rows
    .filter(([, locked, found]) => locked !== found)
    .map(([input, locked, found]) => ({ input, locked, found }))
}

function repeated(names: readonly string[]): string[] {
  return names.filter((name, index) => names.indexOf(name) !== index)
}

/** Throws `lock_mismatch` with every difference; returns when there is none. */
export function requireNone(name: string, differences: readonly Difference[]): void {
  const [first] = differences
  if (first === undefined) return
  const lines = differences.map(
    ({ found, input, locked }) => `${input}: the lock says ${locked}, found was ${found}`,
  )
  throw new KilnError(
    'lock_mismatch',
    `${name}: ${first.input} is not what the lock says: locked ${first.locked}, found ${first.found}`,
    { place: 'template.lock', fix: `kiln template lock ${name}`, lines },
  )
}
