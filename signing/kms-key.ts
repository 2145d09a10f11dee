import { createHash, verify } from 'node:crypto'
import {
  GetPublicKeyCommand,
  KMSClient,
  SignCommand,
  type GetPublicKeyCommandOutput,
} from '@aws-sdk/client-kms'
import { KilnError } from '../src/domain/error.ts'
import { keyArn } from '../src/domain/key-arn.ts'
import { kmsError, unusable } from './kms-error.ts'
import { isP256, publicKeyOf } from './public-key.ts'
import type { SigningKey } from './signing-key.ts'

export type KmsSettings = {
  /** Of a private endpoint; left out for AWS's own of the key's region. */
  endpoint?: string
  /** Left out: what AWS's SDK finds, its variables, its files, the role of the machine. */
  credentials?: { accessKeyId: string; secretAccessKey: string }
  /** For one request, the SDK's repetitions included: whoever wants a signature waits for 10 s. */
  deadlineMs?: number
}

/** Keys in AWS's KMS, by their ARN. */
export type Kms = {
  /**
   * The key as KMS says it is now, which has signed something by way of trial. Throws `refused` when it is of a
   * kind that cannot sign here, and as `sign` does.
   */
  find: (arn: string) => Promise<SigningKey>
  /** The key whose public half is known. Nothing is asked before it signs, and no other key's signature passes. */
  pinned: (arn: string, publicKey: Uint8Array) => SigningKey
}

/** Nothing that Kiln or cosign takes for a statement. A root that may be seen and not used could name no other one. */
const trial = Buffer.from('kiln: a trial of this key, which says nothing')

export function openKms(settings: KmsSettings): Kms {
  const ask = requests(settings)
  const pinned: Kms['pinned'] = (arn, publicKey) => ({
    publicKey,
    place: { kind: 'kms', arn },
    async sign(bytes) {
      const signature = await ask.sign(arn, createHash('sha256').update(bytes).digest())
      if (verify('sha256', bytes, publicKeyOf(publicKey), signature)) return signature
      throw unusable(arn, 'what it signed does not verify under the public half that the log names')
    },
  })
  return {
    pinned,
    async find(arn) {
      const key = pinned(arn, publicHalfOf(arn, await ask.publicKey(arn)))
      await key.sign(trial)
      return key
    },
  }
}

function publicHalfOf(arn: string, answer: GetPublicKeyCommandOutput): Uint8Array {
  const { PublicKey: der, KeyUsage: usage, SigningAlgorithms: algorithms = [] } = answer
  const signs = usage === 'SIGN_VERIFY' && algorithms.includes('ECDSA_SHA_256')
  if (signs && der !== undefined && isP256Key(der)) return der
  throw unusable(arn, 'it is no P-256 key that signs with ECDSA and SHA-256')
}

function isP256Key(der: Uint8Array): boolean {
  try {
    return isP256(publicKeyOf(der))
  } catch {
    return false
  }
}

function requests({ endpoint, credentials, deadlineMs = 5000 }: KmsSettings) {
  const clients = new Map<string, KMSClient>()

  function clientFor(arn: string): KMSClient {
    const [, region] = keyArn.exec(arn) ?? []
    if (region === undefined) throw new KilnError('refused', 'not the ARN of a KMS key')
    const client =
      clients.get(region) ??
      new KMSClient({
        region,
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(credentials === undefined ? {} : { credentials }),
      })
    clients.set(region, client)
    return client
  }

  async function within<T>(arn: string, run: (abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await run(AbortSignal.timeout(deadlineMs))
    } catch (error) {
      throw kmsError(arn, error)
    }
  }

  return {
    publicKey: (arn: string) =>
      within(arn, (abortSignal) =>
        clientFor(arn).send(new GetPublicKeyCommand({ KeyId: arn }), { abortSignal }),
      ),
    sign: (arn: string, digest: Uint8Array) =>
      within(arn, async (abortSignal) => {
        const { Signature = new Uint8Array() } = await clientFor(arn).send(
          new SignCommand({
            KeyId: arn,
            Message: digest,
            MessageType: 'DIGEST',
            SigningAlgorithm: 'ECDSA_SHA_256',
          }),
          { abortSignal },
        )
        return Signature
      }),
  }
}
