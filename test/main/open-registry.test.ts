import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { pino } from 'pino'
import { X509Certificate } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/main/config.ts'
import { keepOpenRegistry } from '../../src/main/open-registry.ts'
import { makeCertificate } from '../helpers/certificate.ts'
import { freePort } from '../helpers/free-port.ts'
import { memoryStore } from '../helpers/memory-store.ts'

/** The fingerprint of what is shown on the port; null: nobody listens. */
function shown(port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? null)
      socket.destroy()
    }).once('error', () => resolve(null))
  })
}

async function soon(port: number, wanted: string | null): Promise<void> {
  for (let look = 0; (await shown(port)) !== wanted; look += 1) {
    if (look > 200) throw new Error(`never ${wanted}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

const made = () => makeCertificate(['registry.example.test'])

function print(pem: string): string {
  return new X509Certificate(pem).fingerprint256
}

test('it opens with the first good certificate, takes over a newer one, and keeps it when one is bad', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kiln-tls-'))
  const port = await freePort()
  const lines: { level: number; msg: string; fix?: string }[] = []
  const logger = pino(
    { level: 'info' },
    { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]) },
  )
  const config = loadConfig(
    {
      KILN_REGISTRY_HOST: 'registry.example.test',
      KILN_REGISTRY_OPEN: `127.0.0.1:${port}`,
      KILN_TLS_FOLDER: folder,
    },
    '/',
  )
  const kept = await keepOpenRegistry(config, {
    store: memoryStore().store,
    access: async () => null,
    admissible: async () => () => false,
    logger,
    everyMs: 20,
  })
  onTestFinished(async () => {
    await kept.close()
    rmSync(folder, { recursive: true })
  })
  const put = (text: string) =>
    writeFileSync(join(folder, 'registry.example.test.pem'), text, { mode: 0o600 })
  expect(await shown(port)).toBeNull()
  expect(lines).toMatchObject(
    [{ level: 50, msg: expect.stringContaining('no registry.example.test.pem'), fix: /PEM/ }].map(
      (line) => ({ ...line, fix: expect.stringMatching(line.fix) }),
    ),
  )

  const first = await made()
  put(first.both)
  await soon(port, print(first.certificate))
  const second = await made()
  put(second.both)
  await soon(port, print(second.certificate))
  put(`${first.certificate}\n${second.key}`)
  while (!lines.some(({ msg }) => msg.includes('the key belongs to another certificate'))) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  expect(await shown(port)).toBe(print(second.certificate))
  await kept.close()
  expect(await shown(port)).toBeNull()
})

test.each([
  [{ KILN_REGISTRY_OPEN: '0.0.0.0:7443' }, 'KILN_REGISTRY_HOST'],
  [{ KILN_REGISTRY_HOST: 'registry.example.test' }, 'KILN_TLS_FOLDER'],
  [{ KILN_REGISTRY_HOST: 'a b', KILN_TLS_FOLDER: '/tls' }, 'KILN_REGISTRY_HOST'],
  [{ KILN_REGISTRY_OPEN: '0.0.0.0' }, 'KILN_REGISTRY_OPEN'],
  [{ KILN_REGISTRY_OPEN: '0.0.0.300:7443' }, 'KILN_REGISTRY_OPEN'],
])('nothing opens with %j', (given, place) => {
  expect(() => loadConfig(given, '/')).toThrow(
    expect.objectContaining({ code: 'invalid_input', place }),
  )
})

test('without a name nothing is open', () => {
  expect(loadConfig({}, '/').registryOpen).toBeNull()
})
