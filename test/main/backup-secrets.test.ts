import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { formsOf, foundIn } from '../e2e/secret-search.ts'
import { filesIn, homeAtHand, passphrase, restored } from './backup-at-hand.ts'

test('the signing keys are nowhere in the backup but encrypted', async () => {
  const { paths, input, backup } = await homeAtHand()
  await backup()
  const secrets = readdirSync(paths.keys)
    .filter((name) => name.endsWith('.pem'))
    .map((name) => readFileSync(join(paths.keys, name), 'utf8').split('\n')[1] ?? '')
  expect(secrets).toHaveLength(7)
  const all = filesIn(input.folder).map((name) => readFileSync(join(input.folder, name), 'latin1'))
  const decoded = all.flatMap((text) =>
    [...text.matchAll(/[A-Za-z0-9+/]{64,}=*/g)].map(([one]) =>
      Buffer.from(one, 'base64').toString('latin1'),
    ),
  )
  expect(decoded.length).toBeGreaterThan(1)
  const found = secrets.filter((secret) =>
    [...all, ...decoded].some((text) => text.includes(secret)),
  )
  expect(found).toEqual([])
})

test('the passphrase is nowhere: not in the backup, not in what is said, not in a restored home, not in an error', async () => {
  const { paths, input, backup } = await homeAtHand()
  const said: string[] = []
  const made = await backup({ report: (line) => said.push(line) })
  const { paths: copy, run } = restored(input.folder, { report: (line) => said.push(line) })
  await run()
  const [wrong, tooShort] = ['wrong horse battery staple', 'Zq7-hushed']
  const refused = await restored(input.folder, { passphrase: wrong })
    .run()
    .catch((error: unknown) => error)
  const short = await backup({ keys: { folder: paths.keys, passphrase: tooShort } }).catch(
    (error: unknown) => error,
  )
  const secrets = [
    ...formsOf('passphrase', passphrase),
    ...formsOf('wrong passphrase', wrong),
    ...formsOf('short passphrase', tooShort),
  ]
  const places = [input.folder, paths.home, copy.home].flatMap((folder) =>
    filesIn(folder).map((name) => [name, readFileSync(join(folder, name))] as const),
  )
  expect(places.length).toBeGreaterThan(30)
  const shown = [made, said, refused, short].map((one) => Buffer.from(inspect(one, { depth: 9 })))
  const all = [...places, ...shown.map((bytes) => ['what is said', bytes] as const)]
  expect(all.flatMap(([name, bytes]) => foundIn(bytes, secrets).map((one) => [name, one]))).toEqual(
    [],
  )
  // And the search would find it.
  expect(foundIn(Buffer.from(`> ${passphrase}`), secrets)).toEqual(['passphrase'])
})
