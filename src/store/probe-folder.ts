import { join } from 'node:path'
import { openFolderHead } from './folder-head.ts'
import { openFolderStore } from './folder-store.ts'
import { probeStore } from './probe.ts'

/** Refuses a folder whose file system does not honour `link`: see `probeStore`. */
export async function probeFolder(root: string): Promise<void> {
  const probeHead = openFolderHead({ root: join(root, 'probe') })
  await probeStore({ store: openFolderStore({ root }), probeHead })
}
