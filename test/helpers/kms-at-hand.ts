import { CreateKeyCommand, KMSClient, type CreateKeyCommandInput } from '@aws-sdk/client-kms'
import type { KmsSettings } from '../../signing/kms-key.ts'
import { startMoto } from './moto.ts'

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
  const { endpoint, stop } = await startMoto()
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
      await stop()
    },
  }
}
