import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openS3Store } from '../../src/store/s3-store.ts'
import { copyLocked } from '../../test/helpers/copy-locked.ts'
import { startGateway } from '../../test/helpers/s3-gateway.ts'
import { makeHome } from '../demo/stage.ts'
import { startAnswerProxy, storeEffects, type AnswerProxy } from './answer-proxy.ts'

/** A bucket that holds what was locked, and a proxy in front of it that loses answers. */
export type Bucket = {
  settings: Readonly<Record<string, string>>
  proxy: AnswerProxy
  /** Where its objects lie as files, by key. */
  files: string
  close: () => Promise<void>
}

export async function openBucket(folder: string): Promise<Bucket> {
  const gateway = await startGateway(join(folder, 'bucket'))
  const settings = gateway.settings()
  const { hostname, port } = new URL(settings.endpoint)
  const proxy = await startAnswerProxy({
    socketPath: null,
    to: { host: hostname, port: Number(port) },
    effects: storeEffects,
  })
  const seed = join(folder, 'seed')
  await makeHome(seed)
  await copyLocked(join(seed, 'store'), openS3Store(settings))
  await rm(seed, { recursive: true })
  const { accessKeyId, secretAccessKey } = settings
  const credentials = join(folder, 's3.json')
  await writeFile(credentials, JSON.stringify({ accessKeyId, secretAccessKey }), { mode: 0o600 })
  return {
    settings: {
      KILN_STORE: `s3://${settings.bucket}/${settings.prefix}`,
      KILN_S3_ENDPOINT: `http://127.0.0.1:${proxy.port}`,
      KILN_S3_CREDENTIALS: credentials,
    },
    proxy,
    files: join(gateway.objects, settings.prefix),
    async close() {
      await proxy.close()
      await gateway.stop()
    },
  }
}
