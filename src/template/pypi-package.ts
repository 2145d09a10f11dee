import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf } from '../../signing/canonical.ts'
import { KilnError } from '../domain/error.ts'
import { oneChunk } from '../oci/write-image.ts'
import { lastLines } from './command.ts'
import type { LockedWheel } from './lock-file.ts'
import type { NpmInputs } from './npm-package.ts'
import { withScratch } from './scratch.ts'

/** Wheels for these are ones that Debian bookworm's glibc runs. */
const platforms = ['manylinux2014_x86_64', 'manylinux_2_28_x86_64']

/**
 * Downloads the wheel of one exact version into the store, through the machine's own pip configuration.
 * pip checks the index's hash. Throws `input_unavailable` when the index does not give it.
 */
export async function downloadWheel(
  { run, scratch, store }: NpmInputs,
  wanted: { pypi: string; version: string },
): Promise<LockedWheel> {
  return await withScratch({ parent: scratch, kind: 'pypi' }, async (folder) => {
    const { pypi, version } = wanted
    const result = await run({
      file: 'pip',
      arguments: [
        'download',
        `${pypi}==${version}`,
        '--no-deps',
        '--only-binary=:all:',
        ...platforms.map((platform) => `--platform=${platform}`),
        `--dest=${folder}`,
        '--no-input',
        '--disable-pip-version-check',
      ],
      cwd: folder,
      environment: null,
      timeoutMs: 600_000,
    })
    const files = result.exitCode === 0 ? await readdir(folder) : []
    const [file] = files.filter((name) => name.endsWith('.whl'))
    if (file === undefined || files.length !== 1) {
      throw new KilnError('input_unavailable', `pip has no wheel of ${pypi}==${version}`, {
        lines: lastLines(result.stderr),
      })
    }
    const bytes = await readFile(join(folder, file))
    const sha256 = digestOf(bytes)
    await store.putBlob(oneChunk(bytes), sha256)
    return { pypi, version, size: bytes.length, sha256 }
  })
}
