import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { z } from 'zod'
import { digestOf } from '../../signing/canonical.ts'
import { KilnError } from '../domain/error.ts'
import { oneChunk } from '../oci/write-image.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { lastLines, type Run } from './command.ts'
import type { LockedTool } from './lock-file.ts'
import { withScratch } from './scratch.ts'

const packed = z
  .array(
    z.object({
      name: z.string(),
      version: z.string(),
      filename: z.string(),
      integrity: z.string(),
    }),
  )
  .length(1)

export type NpmInputs = { store: BlobStore; scratch: string; run: Run }

/**
 * Downloads one exact version of an npm package into the store, through the machine's own npm
 * configuration. npm checks the registry's integrity; Kiln computes it again from the bytes.
 * Throws `input_unavailable` when the registry does not give it.
 */
export async function downloadNpmPackage(
  { run, scratch, store }: NpmInputs,
  wanted: { npm: string; version: string },
): Promise<LockedTool> {
  return await withScratch({ parent: scratch, kind: 'npm' }, async (folder) => {
    const result = await run({
      file: 'npm',
      arguments: ['pack', `${wanted.npm}@${wanted.version}`, '--json', '--ignore-scripts'],
      cwd: folder,
      environment: null,
      timeoutMs: 600_000,
    })
    const entry = result.exitCode === 0 ? packedEntry(result.stdout) : undefined
    if (entry === undefined || entry.version !== wanted.version || entry.name !== wanted.npm) {
      throw new KilnError('input_unavailable', `npm has no ${wanted.npm}@${wanted.version}`, {
        lines: lastLines(result.stderr),
      })
    }
    const bytes = await readFile(join(folder, basename(entry.filename)))
    const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`
    if (integrity !== entry.integrity) {
      throw new KilnError(
        'digest_mismatch',
        `${wanted.npm}@${wanted.version} is ${integrity}, npm says ${entry.integrity}`,
      )
    }
    const sha256 = digestOf(bytes)
    await store.putBlob(oneChunk(bytes), sha256)
    return { npm: wanted.npm, version: wanted.version, size: bytes.length, sha256, integrity }
  })
}

function packedEntry(stdout: string): z.output<typeof packed>[number] | undefined {
  try {
    return packed.parse(JSON.parse(stdout))[0]
  } catch {
    return undefined
  }
}
