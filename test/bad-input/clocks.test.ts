import { globSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { origin } from '../helpers/ledger-signer.ts'
import { scratch } from '../helpers/store-scratch.ts'

/** Number 46 of the catalogue in docs/bad-input.md. The log's order counts; no clock is asked who is right. */
const [faketime] = globSync('/usr/lib/*/faketime/libfaketime.so.1')
const child = join(import.meta.dirname, 'clock-child.ts')
const kept = join(import.meta.dirname, '../fixtures/state-0.1.0/home.tar.gz')

type Told = { said: { active: unknown; denied: unknown; fsck: object }; day: string }

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

test('46 a reader, a verifier and a host say the same a day earlier, a day later and ten years ago', async () => {
  const home = scratch()
  await execa('tar', ['-xzpf', kept, '-C', home])
  const [now, ...others] = await Promise.all([
    toldAt(home, {}),
    toldAt(home, moved('-1d')),
    toldAt(home, moved('+1d', 'Pacific/Auckland')),
    // Into a leap second, ten years ago.
    toldAt(home, moved('@2016-12-31 23:59:59')),
  ])
  expect(now.said).toMatchObject({ active: 'admitted', denied: { code: 'verification_failed' } })
  expect(now.said.fsck).toMatchObject({ problems: [] })
  for (const { said } of others) expect(said).toEqual(now.said)
  // The clocks did stand elsewhere.
  expect(new Set([now, ...others].map(({ day }) => day)).size).toBe(1 + others.length)
})
