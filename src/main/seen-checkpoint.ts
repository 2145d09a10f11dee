import { readFile } from 'node:fs/promises'
import { errnoOf } from '../store/disk-error.ts'
import { replaceFile } from '../store/replace-file.ts'
import type { LedgerReader } from '../ledger/ledger-reader.ts'

/** The newest checkpoint that an earlier run saw; undefined before the first. */
export async function readSeen(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The reader, which keeps the newest checkpoint that it was shown: a log that ends earlier is refused for ever. */
export function remembering(reader: LedgerReader, path: string): LedgerReader {
  let kept = 0
  return {
    ...reader,
    async refresh() {
      const ledger = await reader.refresh()
      const head = reader.checkpoint()
      if (head !== null && head.size > kept) {
        await replaceFile(path, head.note)
        kept = head.size
      }
      return ledger
    },
  }
}
