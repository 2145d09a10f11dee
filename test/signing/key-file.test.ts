import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { decodeKey } from '../../signing/key-file.ts'
import { demandKeysOf, encryptKeys, inTheClear, openKeys, trustRootOf } from '../../signing/keys.ts'
import { openSigner } from '../../signing/signer.ts'
import { scratch } from '../helpers/store-scratch.ts'

const origin = 'kiln.local'
const passphrase = 'a'.repeat(32)
const lock = async () => ({ release: () => {} })
const under = (words: string) => ({ ...inTheClear, passphrase: words })

async function filesOf(folder: string) {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.pem'))
  return Promise.all(
    names.map(async (name) => ({ name, content: await readFile(join(folder, name), 'utf8') })),
  )
}

test('keys that are made under a passphrase stand nowhere in the clear, and open with it alone', async () => {
  const keys = join(scratch(), 'keys')
  const trust = trustRootOf(await openKeys(keys, origin, under(passphrase)), origin)
  const files = await filesOf(keys)
  expect(files).toHaveLength(7)
  for (const { content } of files) expect(content).not.toContain('BEGIN PRIVATE KEY')
  expect(trustRootOf(await openKeys(keys, origin, under(passphrase)), origin)).toEqual(trust)
  const failure = { code: 'prerequisite_missing' }
  await expect(openKeys(keys, origin)).rejects.toMatchObject(failure)
  const other = openKeys(keys, origin, under('another passphrase'))
  await expect(other).rejects.toMatchObject(failure)
  const { message } = (await other.catch((error: unknown) => error)) as Error
  expect(message).not.toContain('another passphrase')
  // A backup tells by their public halves whose they are.
  demandKeysOf(trust, files)
  const [first, second] = files
  const swapped = [{ ...first!, content: second!.content }, ...files.slice(1)]
  expect(() => demandKeysOf(trust, swapped)).toThrow('is not the key')
})

test('keys in the clear are encrypted where they lie, once, and the same keys sign', async () => {
  const keys = join(scratch(), 'keys')
  const trust = trustRootOf(await openKeys(keys, origin), origin)
  expect(await encryptKeys(keys, passphrase)).toHaveLength(7)
  expect(await encryptKeys(keys, passphrase)).toEqual([])
  for (const { content } of await filesOf(keys)) expect(content).not.toContain('BEGIN PRIVATE KEY')
  const signer = await openSigner({
    directory: keys,
    origin,
    access: under(passphrase),
    lock,
    now: () => new Date(),
  })
  expect(signer.history().trust).toEqual(trust)
  // The key that follows is encrypted as well.
  await signer.nextKey({ role: 'promote', kms: null })
  expect(await readFile(join(keys, 'promote-next.pem'), 'utf8')).toContain('ENCRYPTED')
})

test('an encrypted file whose public half is of another key is refused', async () => {
  const keys = join(scratch(), 'keys')
  await openKeys(keys, origin, under(passphrase))
  const [one, two] = await filesOf(keys)
  const half = /-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/
  const mixed = one!.content.replace(half, half.exec(two!.content)![0])
  expect(() => decodeKey(mixed, passphrase, 'one.pem')).toThrow('of another key')
})
