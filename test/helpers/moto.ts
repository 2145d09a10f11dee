import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { rm, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { freePort } from './free-port.ts'
import { answering } from './listening.ts'
import type { Bucket } from './s3-gateway.ts'

export type Moto = { endpoint: string; stop: () => Promise<void> }

/** moto on loopback: AWS's interfaces over its memory, for S3 and KMS. */
export async function startMoto(): Promise<Moto> {
  const port = await freePort()
  // The moto that the set-up pinned, never one of the machine's: the script reaches into it.
  const python = resolve(import.meta.dirname, '../../.cache/tools/python/bin/python3')
  const script = resolve(import.meta.dirname, 'moto-server.py')
  const child = spawn(python, [script, '-H', '127.0.0.1', '-p', String(port)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint = ''
  child.stderr.on('data', (text) => {
    complaint = `${complaint}${String(text)}`.slice(-4000)
  })
  const ended = new Promise<void>((done) => {
    child.once('exit', () => done())
  })
  const endpoint = `http://127.0.0.1:${port}`
  await answering(`${endpoint}/moto-api/`, () => {
    if (child.exitCode !== null) throw new Error(`moto ended: ${complaint}`)
  })
  return {
    endpoint,
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** A bucket on it. Who asks is not looked at: that a stranger is refused is seen on versitygw. */
export async function bucketOnMoto(): Promise<Bucket> {
  const { endpoint, stop } = await startMoto()
  const spool = await mkdtemp(join(tmpdir(), 'kiln-moto-'))
  const place = { endpoint, region: 'us-east-1', bucket: 'kiln' }
  const credentials = { accessKeyId: 'kiln', secretAccessKey: 'kiln-secret' }
  const client = new S3Client({ ...place, credentials, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: place.bucket }))
  client.destroy()
  return {
    settings: () => ({ ...place, ...credentials, prefix: randomUUID(), spool }),
    async stop() {
      await stop()
      await rm(spool, { recursive: true, force: true })
    },
  }
}
