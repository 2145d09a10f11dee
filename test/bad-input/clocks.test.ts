import { globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { origin } from '../helpers/ledger-signer.ts'
import { toldOf, type Told } from './clock-told.ts'

/** Number 46 of the catalogue in docs/bad-input.md. The log's order counts; no clock is asked who is right. */
const [faketime] = globSync('/usr/lib/*/faketime/libfaketime.so.1')
const child = join(import.meta.dirname, 'clock-child.ts')
const kept = join(import.meta.dirname, '../fixtures/state-0.1.0/home.tar.gz')

const moved = (by: string, zone = 'UTC') => ({
  LD_PRELOAD: faketime ?? '',
  FAKETIME: by,
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
  TZ: zone,
})

/** In a process of its own whose clock stands elsewhere, and in another time zone. */
async function toldAt(home: string, clock: Record<string, string>): Promise<Told> {
  const { stdout } = await execa(process.execPath, [child, home, origin], { env: clock })
  return JSON.parse(stdout) as Told
}

let home = ''
let now: Told
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'kiln-clocks-'))
  await execa('tar', ['-xzpf', kept, '-C', home])
  // The first time nothing was seen before; from then on each says that the log goes on from there.
  await toldOf(home, origin)
  now = await toldOf(home, origin)
})
afterAll(() => rmSync(home, { recursive: true }))

test.each([
  ['a day behind', moved('-1d')],
  ['a day ahead, in another time zone', moved('+1d', 'Pacific/Auckland')],
  ['ten years behind, at a leap second', moved('@2016-12-31 23:59:59')],
])('46 a reader, a verifier and a host whose clock is %s say the same', async (_what, clock) => {
  expect(now.said).toMatchObject({ active: 'admitted', denied: { code: 'verification_failed' } })
  expect(now.said.fsck).toMatchObject({ problems: [] })
  const { said, day } = await toldAt(home, clock)
  expect(said).toEqual(now.said)
  // The clock did stand elsewhere.
  expect(day).not.toBe(now.day)
})
