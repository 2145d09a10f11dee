import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { CreateKeyCommand, KMSClient, type CreateKeyCommandInput } from '@aws-sdk/client-kms'
import type { KmsSettings } from '../../signing/kms-key.ts'
import { freePort } from './free-port.ts'

/** A KMS of one's own: moto, on loopback. */
export type KmsAtHand = {
  settings: Required<Pick<KmsSettings, 'endpoint' | 'credentials'>>
  client: KMSClient
  /** A new key, one that Kiln can sign with unless said otherwise; its ARN. */
  make: (input?: CreateKeyCommandInput) => Promise<string>
  stop: () => Promise<void>
}

export const kmsCredentials = {
  accessKeyId: 'AKIAKILNCANARY',
  secretAccessKey: 'kiln-secret-canary',
} as const

export async function kmsAtHand(): Promise<KmsAtHand> {
  const port = await freePort()
  // The moto that the set-up pinned, never one of the machine's: the script reaches into it.
  const python = resolve(import.meta.dirname, '../../.cache/tools/python/bin/python3')
  const script = resolve(import.meta.dirname, 'kms.py')
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
  await answers(endpoint, () => {
    if (child.exitCode !== null) throw new Error(`moto ended: ${complaint}`)
  })
  const client = new KMSClient({ region: 'eu-central-1', endpoint, credentials: kmsCredentials })
  return {
    settings: { endpoint, credentials: kmsCredentials },
    client,
    async make(input = { KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }) {
      const { KeyMetadata } = await client.send(new CreateKeyCommand(input))
      return KeyMetadata?.Arn ?? ''
    },
    async stop() {
      client.destroy()
      child.kill('SIGTERM')
      await ended
    },
  }
}

async function answers(endpoint: string, demandAlive: () => void): Promise<void> {
  const end = Date.now() + 60_000
  while (Date.now() < end) {
    demandAlive()
    const answer = await fetch(`${endpoint}/moto-api/`).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer !== undefined) return
    await pause(100)
  }
  throw new Error('moto did not answer')
}
