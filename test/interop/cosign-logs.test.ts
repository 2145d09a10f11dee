import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { writeTrust } from '../../signing/trust-files.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedger, type LedgerWriter } from '../../src/ledger/ledger-writer.ts'
import { readLogKeys } from '../../src/main/log-keys.ts'
import { contentOf } from '../../src/main/server-ledger.ts'
import { findTool } from '../helpers/find-tool.ts'
import { memoryPorts, startTestApi } from '../helpers/api-ports.ts'
import { memorySigner, type TestSigner } from '../helpers/ledger-signer.ts'
import { memoryStore, type MemoryStore } from '../helpers/memory-store.ts'
import { example } from '../signing/examples.ts'

/** The real cosign writes into Kiln's log, and believes what it wrote by that log alone. */

let cosign: string
let folder: string
let memory: MemoryStore
let signer: TestSigner
let ledger: LedgerWriter
let api: Awaited<ReturnType<typeof startTestApi>>

const at = (name: string) => join(folder, name)

beforeAll(async () => {
  cosign = findTool('cosign')
  folder = await mkdtemp(join(tmpdir(), 'kiln-cosign-logs-'))
  memory = memoryStore()
  signer = memorySigner()
  ledger = openLedger({ ...memory, signer, trust: signer.trust, logger: pino({ level: 'silent' }) })
  for (const n of [1, 2, 3]) await ledger.decide({ id: `${n}`, signable: example('drift', n) })
  const ports = memoryPorts()
  api = await startTestApi({
    ...ports,
    ledger: {
      ...ports.ledger,
      log: async (request) =>
        ledger.logForeign(contentOf(request), await readLogKeys(at('allowed'))),
    },
  })
  await mkdir(at('allowed'))
  await writeTrust(at('trust'), signer.trust)
  await writeTrust(at('other'), memorySigner().trust)
  await writeFile(at('artifact'), 'what another tool made')
  await writeFile(at('predicate.json'), '{"reviewed": true}')
  await writeFile(at('signing-config.json'), JSON.stringify(signingConfig()))
  for (const name of ['mine', 'nobodys']) {
    await run('generate-key-pair', '--output-key-prefix', at(name))
  }
  await cp(at('mine.pub'), join(at('allowed'), 'mine.pub'))
}, 60_000)

afterAll(async () => {
  await api.app.close()
  await rm(folder, { recursive: true, force: true })
})

function signingConfig() {
  return {
    mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
    rekorTlogUrls: [
      {
        url: api.address,
        majorApiVersion: 2,
        validFor: { start: '1970-01-01T00:00:00Z' },
        operator: 'kiln',
      },
    ],
    rekorTlogConfig: { selector: 'ANY' },
    tsaConfig: { selector: 'ANY' },
  }
}

function run(...args: string[]) {
  const env = { HOME: folder, COSIGN_PASSWORD: 'a password', NO_PROXY: '127.0.0.1' }
  return execa(cosign, args, { extendEnv: false, env, reject: false, input: '' })
}

const attest = (key: string, bundle: string) =>
  run(
    'attest-blob',
    '--yes',
    '--key',
    at(key),
    '--predicate',
    at('predicate.json'),
    '--type',
    'https://example.test/review/v1',
    '--bundle',
    at(bundle),
    '--signing-config',
    at('signing-config.json'),
    '--trusted-root',
    join(at('trust'), 'trusted_root.json'),
    at('artifact'),
  )

const verify = ({ key = 'mine.pub', bundle = 'bundle.json', trust = 'trust' } = {}) =>
  run(
    'verify-blob-attestation',
    '--key',
    at(key),
    '--bundle',
    at(bundle),
    '--trusted-root',
    join(at(trust), 'trusted_root.json'),
    '--type',
    'https://example.test/review/v1',
    at('artifact'),
  )

test("cosign logs an attestation into Kiln's log and verifies it by that log", async () => {
  const made = await attest('mine.key', 'bundle.json')
  expect(`${made.exitCode} ${made.stderr}`).toMatch(/^0 /)
  const bundle = JSON.parse(await readFile(at('bundle.json'), 'utf8')) as {
    verificationMaterial: { tlogEntries: { logIndex: string }[] }
  }
  expect(bundle.verificationMaterial.tlogEntries).toMatchObject([{ logIndex: '3' }])
  const checked = await verify()
  expect(`${checked.exitCode} ${checked.stderr}`).toMatch(/^0 Verified OK/)
  expect((await verify({ trust: 'other' })).exitCode).not.toBe(0)
  expect((await verify({ key: 'nobodys.pub' })).exitCode).not.toBe(0)
  const trust = { ...memory, trust: signer.trust }
  expect(await fsck(trust)).toMatchObject({ entries: 4, foreign: 1, problems: [] })
  await ledger.refresh()
  expect(ledger.facts()).toHaveLength(3)
})

test('cosign with a key that nobody allowed is refused, and nothing is logged', async () => {
  const made = await attest('nobodys.key', 'refused.json')
  expect(made.exitCode).not.toBe(0)
  expect(made.stderr).toContain('may not write into this log')
  expect((await fsck({ ...memory, trust: signer.trust })).entries).toBe(4)
})
