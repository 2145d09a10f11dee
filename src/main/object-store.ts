import { readFileSync, statSync } from 'node:fs'
import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import type { AgingStore, HeadStore } from '../store/blob-store.ts'
import { openFolderHead, readFolderHead } from '../store/folder-head.ts'
import { openFolderStore } from '../store/folder-store.ts'
import { probeFolder } from '../store/probe-folder.ts'
import type { S3Settings } from '../store/s3-client.ts'
import { s3OnDemand } from '../store/s3-on-demand.ts'

/** Where the object store is; credentials are a file's name, never a value. */
export type StorePlace =
  | { kind: 'folder'; root: string }
  | {
      kind: 's3'
      bucket: string
      prefix: string | undefined
      endpoint: string | undefined
      region: string
      credentialsFile: string
      spool: string
    }

export type ObjectStore = {
  /** As people name it: a path, or `s3://bucket/prefix`. */
  place: string
  store: AgingStore
  head: HeadStore
  /** Refuses, by trying, a store that does not keep its promises: see `probeStore`. */
  probe: () => Promise<void>
}

/** Opens nothing yet but, for S3, the file of credentials. Throws `prerequisite_missing` about that. */
export function openObjectStore(at: StorePlace): ObjectStore {
  if (at.kind === 'folder') {
    return {
      place: at.root,
      store: openFolderStore(at),
      head: openFolderHead(at),
      probe: () => probeFolder(at.root),
    }
  }
  return {
    place: `s3://${at.bucket}${at.prefix === undefined ? '' : `/${at.prefix}`}`,
    ...s3OnDemand(s3SettingsOf(at)),
  }
}

/** The same for a process that never moves the head, and, with `readOnly`, writes nothing. */
export function readObjectStore(
  at: StorePlace,
  { readOnly }: { readOnly: boolean },
): Pick<ObjectStore, 'place' | 'store'> & { head: Pick<HeadStore, 'read'> } {
  if (at.kind === 's3') return openObjectStore(at)
  return {
    place: at.root,
    store: openFolderStore({ root: at.root, readOnly }),
    head: readFolderHead(at),
  }
}

const credentialsForm = z.strictObject({
  accessKeyId: z.string().min(1),
  secretAccessKey: z.string().min(1),
})

function s3SettingsOf(at: Extract<StorePlace, { kind: 's3' }>): S3Settings {
  const { bucket, prefix, endpoint, region, spool } = at
  return {
    bucket,
    region,
    spool,
    ...(prefix === undefined ? {} : { prefix }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...readCredentials(at.credentialsFile),
  }
}

/** The cause is left out of every error: it may quote what was read. */
function readCredentials(path: string): z.infer<typeof credentialsForm> {
  const fix = `write {"accessKeyId": "…", "secretAccessKey": "…"} to ${path}, readable by Kiln's user alone`
  let text: string
  try {
    if ((statSync(path).mode & 0o077) !== 0) {
      throw new KilnError('prerequisite_missing', `${path} is open to other users`, {
        place: 'KILN_S3_CREDENTIALS',
        fix: `chmod go= ${path}`,
      })
    }
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof KilnError) throw error
    throw new KilnError('prerequisite_missing', `${path} cannot be read`, {
      place: 'KILN_S3_CREDENTIALS',
      fix,
    })
  }
  try {
    return credentialsForm.parse(JSON.parse(text))
  } catch {
    throw new KilnError('prerequisite_missing', `${path} does not hold credentials of S3`, {
      place: 'KILN_S3_CREDENTIALS',
      fix,
    })
  }
}
