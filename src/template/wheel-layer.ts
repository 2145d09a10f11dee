import { digestOf } from '../../signing/canonical.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import type { LockedWheel } from './lock-file.ts'
import type { WheelTool } from './template-file.ts'
import { writeToolLayer } from './tool-layer.ts'
import { readZipFile } from './zip.ts'

/**
 * Stores a layer with the one file that a template takes of a wheel, as a program. Its bytes follow from
 * the wheel's digest, the tool and the epoch (seconds). Throws `digest_mismatch` when the stored wheel
 * is not the locked one, `invalid_archive` when the file is not in it.
 */
export async function buildWheelLayer(
  store: BlobStore,
  { wheel, locked, epoch }: { wheel: WheelTool; locked: LockedWheel; epoch: number },
): Promise<{ digest: Digest; size: number }> {
  const named = `${locked.pypi}==${locked.version}`
  const bytes = await store.get(blobKey(locked.sha256))
  if (bytes === undefined) {
    throw new KilnError('input_unavailable', `${named} is not in the store`)
  }
  if (digestOf(bytes) !== locked.sha256) {
    throw new KilnError(
      'digest_mismatch',
      `${named} in the store is not the content that its name promises`,
      { fix: 'kiln fsck' },
    )
  }
  const content = contentOf(Buffer.from(bytes), { from: wheel.take.from, named })
  return await writeToolLayer(
    store,
    [{ kind: 'file', path: wheel.take.to, executable: true, bytes: content }],
    epoch,
  )
}

function contentOf(zip: Buffer, { from, named }: { from: string; named: string }): Buffer {
  try {
    const content = readZipFile(zip, from)
    if (content !== undefined) return content
  } catch (cause) {
    if (!(cause instanceof TypeError || cause instanceof RangeError)) throw cause
    throw new KilnError('invalid_archive', `${named} is no wheel: ${cause.message}`, {
      cause,
      place: named,
    })
  }
  throw new KilnError('invalid_archive', `${named} has no file ${from}`, { place: 'template.yaml' })
}
