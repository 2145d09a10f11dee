import type { KeyAccess } from '../../signing/keys.ts'
import type { Kms } from '../../signing/kms-key.ts'
import type { Config } from './config.ts'
import { signingPassphrase } from './signing-passphrase.ts'

type Settings = Pick<Config, 'kmsEndpoint' | 'signingPassphraseFile'>

/** How the signer opens its keys, as the settings say. */
export async function signingAccess(config: Settings): Promise<KeyAccess> {
  let opened: Promise<Kms> | undefined
  return {
    passphrase: await signingPassphrase(config),
    kms: () => (opened ??= openKms(config)),
  }
}

/** AWS's client takes 0.2 s of CPU and 11 MB: it is loaded only where a key is in KMS. */
export async function openKms({ kmsEndpoint }: Pick<Config, 'kmsEndpoint'>): Promise<Kms> {
  const { openKms: open } = await import('../../signing/kms-key.ts')
  return open(kmsEndpoint === undefined ? {} : { endpoint: kmsEndpoint })
}
