import { digestOfHex } from '../../src/domain/digest.ts'
import type { BlobStore } from '../../src/store/blob-store.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'

/** Copies what templates locked; nothing else is in the folder of a store in which nothing was built. */
export async function copyLocked(root: string, to: BlobStore): Promise<void> {
  const from = openFolderStore({ root })
  for await (const key of from.list('blobs/')) {
    const digest = digestOfHex(key.slice('blobs/sha256/'.length))
    const content = await from.readBlob(digest)
    if (content !== undefined) await to.putBlob(content, digest)
  }
  for (const prefix of ['templates/', 'repositories/', 'referrers/']) {
    for await (const key of from.list(prefix))
      await to.put(key, (await from.get(key)) ?? Buffer.alloc(0))
  }
}
