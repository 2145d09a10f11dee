import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { digestOf } from '../../signing/canonical.ts'
import { findTool } from '../helpers/find-tool.ts'
import { freePort } from '../helpers/free-port.ts'

/** Debian's docker-registry on a free port of loopback, without a sign-in, over a scratch folder. */
export async function debianRegistry() {
  const folder = await mkdtemp(join(tmpdir(), 'kiln-control-'))
  const port = await freePort()
  const config = join(folder, 'config.yml')
  await writeFile(
    config,
    `version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: ${join(folder, 'data')}}}
http: {addr: "127.0.0.1:${port}"}
`,
  )
  const child = spawn(findTool('docker-registry'), ['serve', config], { stdio: 'ignore' })
  const ended = new Promise<void>((done) => {
    child.once('exit', () => done())
  })
  const at = `http://127.0.0.1:${port}`
  for (let n = 0; !(await answers(at)); n++) {
    if (n > 200 || child.exitCode !== null) throw new Error('docker-registry does not answer')
    await pause(50)
  }
  return {
    at,
    async pushBlob(name: string, bytes: Uint8Array): Promise<void> {
      const begun = await fetch(`${at}/v2/${name}/blobs/uploads/`, { method: 'POST' })
      const location = new URL(begun.headers.get('location') ?? '', at)
      location.searchParams.set('digest', digestOf(bytes))
      const body = Buffer.from(bytes)
      const { status } = await fetch(location, { method: 'PUT', body })
      if (status !== 201) throw new Error(`the blob was not taken: ${status}`)
    },
    async pushManifest(name: string, bytes: Uint8Array, type: string): Promise<void> {
      const { status } = await fetch(`${at}/v2/${name}/manifests/${digestOf(bytes)}`, {
        method: 'PUT',
        body: Buffer.from(bytes),
        headers: { 'content-type': type },
      })
      if (status !== 201) throw new Error(`the manifest was not taken: ${status}`)
    },
    async close(): Promise<void> {
      child.kill('SIGTERM')
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function answers(at: string): Promise<boolean> {
  return fetch(`${at}/v2/`).then(
    ({ ok }) => ok,
    () => false,
  )
}
