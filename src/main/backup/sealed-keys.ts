import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto'
import { z } from 'zod'
import type { KeyFile } from '../../../signing/keys.ts'
import { KilnError } from '../../domain/error.ts'

/**
 * The signing keys under a passphrase, version 1: scrypt (N, r, p and salt are in the file) gives the key
 * of AES-256-GCM; the header, canonical as written here, is authenticated with it. docs/formats.md.
 */
const form = z.strictObject({
  version: z.literal(1),
  kind: z.literal('kiln-signing-keys'),
  origin: z.string(),
  kdf: z.strictObject({
    name: z.literal('scrypt'),
    // Bounds keep a forged file from taking all memory: at most 1 GiB.
    N: z.int().min(16_384).max(1_048_576),
    r: z.literal(8),
    p: z.literal(1),
    salt: z.base64().length(24),
  }),
  cipher: z.strictObject({
    name: z.literal('aes-256-gcm'),
    nonce: z.base64().length(16),
    tag: z.base64().length(24),
  }),
  ciphertext: z.base64(),
})
type Sealed = z.infer<typeof form>

const contentForm = z.strictObject({
  version: z.literal(1),
  files: z.array(
    z.strictObject({
      name: z.string().regex(/^[a-z0-9-]{1,60}\.(pem|json)$/),
      content: z.string(),
    }),
  ),
})

/** 128 MiB and about half a second for each guess. */
const workFactor = 131_072
const leastLength = 12

/**
 * Throws `invalid_input` on a passphrase that is too short to protect anything. `scryptN` is what a guess costs;
 * only tests, which make many backups, take less than Kiln does.
 */
export async function sealKeys(
  files: readonly KeyFile[],
  {
    origin,
    passphrase,
    scryptN = workFactor,
  }: { origin: string; passphrase: string; scryptN?: number | undefined },
): Promise<string> {
  if (passphrase.length < leastLength) {
    throw new KilnError(
      'invalid_input',
      `the passphrase has ${passphrase.length} characters; it needs ${leastLength}`,
      { fix: 'take several words; whoever has the backup can try as often as they like' },
    )
  }
  const kdf = {
    name: 'scrypt',
    N: scryptN,
    r: 8,
    p: 1,
    salt: randomBytes(16).toString('base64'),
  } as const
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', await keyOf(passphrase, kdf), nonce)
  cipher.setAAD(headerOf({ origin, kdf }))
  const content = JSON.stringify({ version: 1, files })
  const ciphertext = Buffer.concat([cipher.update(content, 'utf8'), cipher.final()])
  const sealed: Sealed = {
    version: 1,
    kind: 'kiln-signing-keys',
    origin,
    kdf,
    cipher: {
      name: 'aes-256-gcm',
      nonce: nonce.toString('base64'),
      tag: cipher.getAuthTag().toString('base64'),
    },
    ciphertext: ciphertext.toString('base64'),
  }
  return `${JSON.stringify(sealed, null, 2)}\n`
}

/** Throws `verification_failed` for a wrong passphrase or a changed file: the two look the same. */
export async function openSealedKeys(
  text: string,
  { passphrase, place }: { passphrase: string; place: string },
): Promise<{ origin: string; files: KeyFile[] }> {
  const { origin, kdf, cipher, ciphertext } = parse(text, place)
  const decipher = createDecipheriv(
    'aes-256-gcm',
    await keyOf(passphrase, kdf),
    Buffer.from(cipher.nonce, 'base64'),
    { authTagLength: 16 },
  )
  decipher.setAAD(headerOf({ origin, kdf }))
  decipher.setAuthTag(Buffer.from(cipher.tag, 'base64'))
  try {
    const content = Buffer.concat([
      decipher.update(Buffer.from(ciphertext, 'base64')),
      decipher.final(),
    ])
    return { origin, files: contentForm.parse(JSON.parse(content.toString('utf8'))).files }
  } catch {
    // The cause is left out: it may quote what was decrypted.
    throw new KilnError('verification_failed', 'the signing keys do not open', {
      place,
      fix: 'give the passphrase that this backup was made with; if it is right, the file was changed',
    })
  }
}

function parse(text: string, place: string): Sealed {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  const parsed = form.safeParse(json)
  if (parsed.success) return parsed.data
  throw new KilnError('verification_failed', 'not signing keys as Kiln encrypts them', { place })
}

function headerOf({ origin, kdf }: Pick<Sealed, 'origin' | 'kdf'>): Buffer {
  const { name, N, r, p, salt } = kdf
  return Buffer.from(JSON.stringify(['kiln-signing-keys', 1, origin, name, N, r, p, salt]))
}

function keyOf(passphrase: string, { N, r, p, salt }: Sealed['kdf']): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = { N, r, p, maxmem: 256 * N * r }
    // Two keyboards may spell one character in two ways.
    const text = passphrase.normalize('NFC')
    scrypt(text, Buffer.from(salt, 'base64'), 32, options, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}
