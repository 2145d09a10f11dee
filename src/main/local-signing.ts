import { encryptKeys } from '../../signing/keys.ts'
import { KilnError } from '../domain/error.ts'
import { lockFolder } from '../store/folder-lock.ts'
import type { Config } from './config.ts'
import { signingPassphrase } from './signing-passphrase.ts'

/** Encrypts the signing keys where they lie. Throws `already_running` while the signer has them. */
export async function localEncryptKeys(config: Config): Promise<{ encrypted: readonly string[] }> {
  const passphrase = await signingPassphrase(config)
  if (passphrase === null) {
    throw new KilnError('invalid_input', 'no passphrase to encrypt the signing keys with', {
      place: 'KILN_SIGNING_PASSPHRASE_FILE',
      fix: 'openssl rand -hex 32 > /etc/kiln/signing-passphrase, closed to others, and name it in the setting',
    })
  }
  const lock = await lockFolder(config.paths.keys)
  try {
    return { encrypted: await encryptKeys(config.paths.keys, passphrase) }
  } finally {
    lock.release()
  }
}
