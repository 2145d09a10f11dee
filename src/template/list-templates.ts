import { readdir } from 'node:fs/promises'
import { digestOf } from '../../signing/canonical.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { isLabel } from '../domain/name.ts'
import { parseLock, type Lock } from './lock-file.ts'
import { readLockText, readTemplate } from './read-template.ts'
import type { Template } from './template-file.ts'

/** One template as it stands in its folder; nothing of it is checked but its form. */
export type TemplateSummary = {
  name: string
  template: Template
  /** null when it was never locked. */
  lock: { digest: Digest; content: Lock } | null
}

/** Every template's name, sorted. Throws `not_found` when there is no such folder. */
export async function listTemplates(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw new KilnError('not_found', `there is no templates folder`, {
      place: folder,
      cause: error,
    })
  })
  return entries
    .filter((entry) => entry.isDirectory() && isLabel(entry.name))
    .map((entry) => entry.name)
    .toSorted()
}

/** Throws `not_found`, or `invalid_yaml` with the place. */
export async function showTemplate(folder: string, name: string): Promise<TemplateSummary> {
  const { template } = await readTemplate(folder, name)
  const text = await readLockText(folder, name)
  const lock =
    text === undefined ? null : { digest: digestOf(Buffer.from(text)), content: parseLock(text) }
  return { name, template, lock }
}
