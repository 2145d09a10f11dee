import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { LoggedBundle } from '../../signing/bundle.ts'
import { writeTrust } from '../../signing/trust-files.ts'
import { digestOfHex } from '../../src/domain/digest.ts'
import { findTool } from '../helpers/find-tool.ts'
import { signedLog } from '../helpers/signed-log.ts'
import { example } from '../signing/examples.ts'

/** A provisioning key in the hands of the real slsa-verifier, which reads the bare envelope. */

const digest = digestOfHex('ab'.repeat(32))
const other = digestOfHex('cd'.repeat(32))
const origin = 'kiln.local'

let tool: string
let folder: string
let key: LoggedBundle
let denial: LoggedBundle

beforeAll(async () => {
  tool = findTool('slsa-verifier')
  folder = await mkdtemp(join(tmpdir(), 'kiln-vsa-'))
  const log = signedLog(origin)
  const issued = example('key')
  key = await log.add({ ...issued, body: { ...issued.body, digest, environment: 'hello/prod' } })
  denial = await log.add({ ...example('denial'), artifact: digest })
  await writeTrust(join(folder, 'trust'), log.trust)
  await writeTrust(join(folder, 'others'), signedLog(origin).trust)
})

afterAll(() => rm(folder, { recursive: true, force: true }))

type Asked = {
  envelope: LoggedBundle['dsseEnvelope']
  digest: string
  verifier: string
  resource: string
  level: string
  publicKey: string
}

function asked(change: Partial<Asked> = {}): Asked {
  return {
    envelope: key.dsseEnvelope,
    digest,
    verifier: `https://${origin}/promoter/v1`,
    resource: `oci://${origin}/hello?environment=prod`,
    level: 'KILN_PROMOTED_HELLO_PROD',
    publicKey: 'trust/promote.pub',
    ...change,
  }
}

async function verify(what: Asked) {
  const path = join(folder, 'key.dsse.json')
  await writeFile(path, JSON.stringify(what.envelope))
  const options = {
    'subject-digest': what.digest,
    'attestation-path': path,
    'verifier-id': what.verifier,
    'resource-uri': what.resource,
    'verified-level': what.level,
    'public-key-path': join(folder, what.publicKey),
  }
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])
  const env = { HOME: folder, https_proxy: 'http://127.0.0.1:1' }
  return execa(tool, ['verify-vsa', ...flags], { extendEnv: false, env, reject: false })
}

test('slsa-verifier accepts a key for its digest, environment and level', async () => {
  const { exitCode, stderr } = await verify(asked())
  expect(`${exitCode} ${stderr}`).toContain('PASSED')
  expect(exitCode).toBe(0)
})

function withPayload(change: (payload: string) => string): LoggedBundle['dsseEnvelope'] {
  const payload = Buffer.from(key.dsseEnvelope.payload, 'base64').toString()
  const changed = change(payload)
  expect(changed).not.toBe(payload)
  return { ...key.dsseEnvelope, payload: Buffer.from(changed).toString('base64') }
}

test.each<[string, () => Partial<Asked>]>([
  ['another digest', () => ({ digest: other })],
  ['another environment', () => ({ resource: `oci://${origin}/hello?environment=dev` })],
  ['a level that was not reached', () => ({ level: 'KILN_PROMOTED_HELLO_DEV' })],
  ['another promoter', () => ({ verifier: 'https://other.local/promoter/v1' })],
  ["another role's key", () => ({ publicKey: 'trust/build.pub' })],
  ["another Kiln's key", () => ({ publicKey: 'others/promote.pub' })],
  ['a changed payload', () => ({ envelope: withPayload((text) => text.replace('ab', 'aa')) })],
  [
    'a FAILED summary under the promote key',
    () => ({ envelope: withPayload((text) => text.replace('PASSED', 'FAILED')) }),
  ],
  ['a denial under the promote key', () => ({ envelope: denial.dsseEnvelope })],
  [
    'a denial under its own key',
    () => ({ envelope: denial.dsseEnvelope, publicKey: 'trust/deny.pub' }),
  ],
])('slsa-verifier refuses %s', async (_what, change) => {
  const { exitCode, stderr } = await verify(asked(change()))
  expect(stderr).toContain('FAILED')
  expect(exitCode).not.toBe(0)
})
