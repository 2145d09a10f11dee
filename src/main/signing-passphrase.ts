import { KilnError } from '../domain/error.ts'
import { readSecretFile } from '../store/secret-file.ts'
import type { Config } from './config.ts'

/** PKCS#8 makes each guess cheap: what is guessed must be long. */
const leastLength = 20

/** The passphrase of the key files, from the file that the settings name; null: the keys are not encrypted. */
export async function signingPassphrase({
  signingPassphraseFile: path,
}: Pick<Config, 'signingPassphraseFile'>): Promise<string | null> {
  if (path === undefined) return null
  const passphrase = await readSecretFile(path)
  if (passphrase.length >= leastLength) return passphrase
  throw new KilnError(
    'prerequisite_missing',
    `the passphrase has fewer than ${leastLength} characters`,
    {
      place: path,
      fix: `openssl rand -hex 32 > ${path}`,
    },
  )
}
