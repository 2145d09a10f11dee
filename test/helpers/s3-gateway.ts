import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { S3Settings } from '../../src/store/s3-client.ts'
import { findTool } from './find-tool.ts'
import { freePort } from './free-port.ts'
import { answering } from './listening.ts'

const bucket = 'kiln'

export type Bucket = {
  /** Settings of a place of its own in the bucket. */
  settings(): S3Settings & { endpoint: string; prefix: string }
  stop(): Promise<void>
}

export type Gateway = Bucket & {
  /** Where its objects lie as files, by bucket and key. */
  objects: string
}

/** A real S3 server, versitygw, over a scratch folder, or over one that is `given` and stays. */
export async function startGateway(given?: string): Promise<Gateway> {
  const folder = given ?? mkdtempSync(join(tmpdir(), 'kiln-s3-'))
  mkdirSync(join(folder, 'data', bucket), { recursive: true })
  const port = await freePort()
  const child = spawn(
    findTool('versitygw'),
    [
      '--port',
      `127.0.0.1:${port}`,
      '--quiet',
      '--access',
      'kiln',
      '--secret',
      'kiln-secret',
    ].concat(['posix', join(folder, 'data')]),
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let complaint = ''
  child.stderr.on('data', (text) => {
    complaint += String(text)
  })
  const ended = new Promise<void>((done) => {
    child.once('exit', () => done())
  })
  const endpoint = `http://127.0.0.1:${port}`
  await answering(endpoint, () => {
    if (child.exitCode !== null) throw new Error(`versitygw ended: ${complaint}`)
  })
  return {
    settings: () => ({
      endpoint,
      region: 'us-east-1',
      bucket,
      prefix: randomUUID(),
      accessKeyId: 'kiln',
      secretAccessKey: 'kiln-secret',
      spool: join(folder, 'spool'),
    }),
    objects: join(folder, 'data', bucket),
    async stop() {
      child.kill('SIGTERM')
      await ended
      if (given === undefined) rmSync(folder, { recursive: true, force: true })
    },
  }
}
