import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isEncrypted, publicHalf, referenceIn } from '../../../signing/key-file.ts'
import { toBase64 } from '../../../signing/base64.ts'
import { fileOf, keyNames } from '../../../signing/keys.ts'
import { KilnError } from '../../domain/error.ts'
import type { Config } from '../config.ts'
import { openKms } from '../signing-access.ts'
import { good, missing, type Check } from './check.ts'

type Settings = Pick<Config, 'paths' | 'kmsEndpoint' | 'signingPassphraseFile'>

/**
 * What the signer needs to open the keys that are there: the passphrase's file, and of keys in AWS's KMS that it
 * signs for us, by the key that the log names. Nothing before the first start. No private half is opened.
 */
export async function checkSigningKeys(config: Settings): Promise<Check[]> {
  const files = await readKeys(config.paths.keys)
  const locked = files.filter(({ content }) => isEncrypted(content)).map(({ name }) => name)
  const inKms = files.filter(({ content }) => referenceIn(content) !== null)
  const checks = await Promise.all(inKms.map((file) => checkInKms(config, file)))
  return locked.length === 0 ? checks : [judgePassphrase(config, locked), ...checks]
}

type Named = { name: string; content: string }

/** Those that can be read; for others the signer says why not. */
async function readKeys(folder: string): Promise<Named[]> {
  const files = await Promise.all(
    keyNames.map(async (name) => {
      const content = await readFile(join(folder, fileOf(name)), 'utf8').catch(() => null)
      return content === null ? [] : [{ name, content }]
    }),
  )
  return files.flat()
}

function judgePassphrase({ signingPassphraseFile }: Settings, names: readonly string[]): Check {
  const finding = {
    name: 'passphrase of the signing keys',
    found: signingPassphraseFile ?? `none, and encrypted: ${names.join(', ')}`,
    wanted: 'the file with the passphrase',
  }
  if (signingPassphraseFile !== undefined) return good(finding)
  return missing(finding, 'name it in KILN_SIGNING_PASSPHRASE_FILE: docs/signing-keys.md')
}

async function checkInKms(config: Settings, { name, content }: Named): Promise<Check> {
  const arn = referenceIn(content) ?? ''
  const about = {
    name: `signing key ${name}`,
    wanted: `${arn}, with kms:Sign and kms:GetPublicKey`,
  }
  try {
    const { publicKey } = await (await openKms(config)).find(arn)
    if (toBase64(publicKey) === publicHalf(content)) return good({ ...about, found: 'in KMS' })
    const fix = `kiln signing rotate ${name} gives the role another key`
    return missing({ ...about, found: 'another key than the log names' }, fix)
  } catch (error) {
    if (!(error instanceof KilnError)) throw error
    return missing({ ...about, found: error.message }, error.fix ?? 'docs/signing-keys.md')
  }
}
