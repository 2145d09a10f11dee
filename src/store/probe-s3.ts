import { probeStore } from './probe.ts'
import type { S3Settings } from './s3-client.ts'
import { openS3Head } from './s3-head.ts'
import { openS3Store } from './s3-store.ts'

/** Refuses a service that ignores `If-None-Match` or `If-Match`: see `probeStore`. */
export async function probeS3(settings: S3Settings): Promise<void> {
  const prefix = settings.prefix === undefined ? 'probe' : `${settings.prefix}/probe`
  const probeHead = openS3Head({ ...settings, prefix })
  await probeStore({ store: openS3Store(settings), probeHead })
}
