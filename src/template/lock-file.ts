import { z } from 'zod'
import { canonicalJson } from '../../signing/canonical.ts'
import { isDigest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { parseYaml } from './yaml.ts'

const digest = z
  .string()
  .refine(isDigest, { error: 'must be sha256: and 64 lower-case hexadecimal digits' })

const size = z
  .int()
  .min(1)
  .max(2 ** 32)
const architecture = z.literal('amd64')
const version = z.literal(1, { error: 'must be 1, the only version of this format' })
const plain = z.string().min(1).max(300)

const debianPackage = z.strictObject({ name: plain, version: plain, size, sha256: digest })

const tool = z.strictObject({
  npm: plain,
  version: plain,
  size,
  sha256: digest,
  integrity: z.string().regex(/^sha512-[A-Za-z0-9+/]{86}==$/, 'must be a sha512 integrity'),
})

const wheel = z.strictObject({ pypi: plain, version: plain, size, sha256: digest })

const debianLock = z.strictObject({
  version,
  kind: z.literal('debian'),
  template: digest,
  architecture,
  suite: plain,
  epoch: z.int().min(0),
  packages: z.array(debianPackage).min(1).max(2000),
  inputs: digest,
  images: z.strictObject({ base: digest }),
})

const containerLock = z.strictObject({
  version,
  kind: z.literal('container'),
  template: digest,
  architecture,
  base: z.strictObject({ name: plain, lock: digest, image: digest }),
  tools: z.array(tool).max(40),
  /** Absent where the template names none: earlier locks keep their bytes. */
  wheels: z.array(wheel).max(20).optional(),
  dockerfile: digest,
  files: digest.nullable(),
  inputs: digest,
  images: z.strictObject({ base: digest, fetch: digest.nullable() }),
})

const lock = z.discriminatedUnion('kind', [debianLock, containerLock])

export type LockedPackage = z.output<typeof debianPackage>
export type LockedTool = z.output<typeof tool>
export type LockedWheel = z.output<typeof wheel>
export type DebianLock = z.output<typeof debianLock>
export type ContainerLock = z.output<typeof containerLock>
export type Lock = z.output<typeof lock>

const maxBytes = 2 * 1024 * 1024

/**
 * Parses template.lock; throws `invalid_yaml` with the place for what is not a lock, `lock_mismatch`
 * for one that Kiln did not write in this form: a lock has one byte form, so its digest names it.
 */
export function parseLock(text: string): Lock {
  const parsed = parseYaml({ file: 'template.lock', text, maxBytes }, lock)
  if (renderLock(parsed) !== text) {
    throw new KilnError(
      'lock_mismatch',
      'template.lock was changed by hand: its form is not the one Kiln writes',
      {
        place: 'template.lock',
      },
    )
  }
  return parsed
}

/** The lock's one byte form: JSON with sorted keys, indented by two spaces, and a last newline. */
export function renderLock(content: Lock): string {
  const sorted: unknown = JSON.parse(Buffer.from(canonicalJson(content)).toString())
  return `${JSON.stringify(sorted, null, 2)}\n`
}
