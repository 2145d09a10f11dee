import { chmodSync, cpSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { TrustRoot } from '../../signing/trust.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { expectDiskError, faultyDisk, smallDisk } from '../helpers/disk-fault.ts'
import { folderSigner } from '../helpers/ledger-signer.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { example } from '../signing/examples.ts'

const logger = pino({ level: 'silent' })
const drifts = [1, 2, 3].map((n) => example('drift', n))

/** A ledger as a process would open it: its store and its signer's memory are in the folder. */
async function opened(root: string) {
  const folder = { root: join(root, 'store') }
  const signer = await folderSigner(join(root, 'keys'))
  const deps = { store: openFolderStore(folder), head: openFolderHead(folder), signer }
  const ledger = openLedger({ ...deps, trust: signer.trust, logger })
  return {
    trust: signer.trust,
    async decide(n: number): Promise<string> {
      const { leaf, index } = await ledger.decide({ id: `${n}`, signable: drifts[n - 1]! })
      return `${leaf} ${index}`
    },
  }
}

/** What another process finds in the log, after all of it was checked. */
async function logged(root: string, trust: TrustRoot): Promise<string[]> {
  const folder = { root: join(root, 'store') }
  const [store, head] = [openFolderStore(folder), openFolderHead(folder)]
  expect((await fsck({ store, head, trust })).problems).toEqual([])
  const reader = openLedgerReader({ store, head, trust, logger })
  await reader.refresh()
  return reader.facts().map(({ leaf, index }) => `${leaf} ${index}`)
}

const failure = (action: Promise<unknown>) =>
  action.then(
    () => undefined,
    (error: unknown) => error,
  )

/** After the disk is mended: the same process and a new one go on, and each decision is there once. */
async function expectMended(root: string, ledger: Awaited<ReturnType<typeof opened>>, one: string) {
  const two = await ledger.decide(2)
  expect(await ledger.decide(1)).toBe(one)
  const restarted = await opened(root)
  expect(await restarted.decide(2)).toBe(two)
  expect(await logged(root, ledger.trust)).toEqual([one, two])
  const three = await restarted.decide(3)
  expect(await logged(root, ledger.trust)).toEqual([one, two, three])
}

test.each([
  ['EIO', 'goes on'],
  ['ENOSPC', 'is killed'],
])(
  '%s at each call of a decision, whose process %s: what was acknowledged is there and verifies',
  async (code, then) => {
    // In memory: some thousand syncs.
    const { root: base } = await smallDisk(scratch())
    const disk = await faultyDisk(base)
    const at = (n: number) => mkdtempSync(join(base, `${n}-`))
    const first = at(0)
    const one = await (await opened(first)).decide(1)
    const copied = async (n: number) => {
      const root = at(n)
      cpSync(first, root, { recursive: true })
      chmodSync(join(root, 'keys'), 0o700)
      const ledger = await opened(root)
      expect(await ledger.decide(1)).toBe(one)
      return { root, ledger }
    }
    const whole = await copied(1)
    disk.heal()
    await whole.ledger.decide(2)
    const calls = disk.calls.map((call) => call.replace(/ \d+-\w+\//, ' '))
    // Every step of an append is among what fails: the batch aside, the signer, tiles and the head.
    for (const step of [
      /^link store\/tmp/,
      /^(writeFileSync|renameSync|fsyncSync) keys/,
      /^sync store\/staging/,
      /^sync store\/tile/,
      /^sync store\/head/,
    ]) {
      expect(calls).toContainEqual(expect.stringMatching(step))
    }
    for (const nth of calls.keys()) {
      const { root, ledger } = await copied(nth)
      disk.failFrom(nth, code)
      expectDiskError(await failure(ledger.decide(2)), root, code)
      disk.heal()
      const next = await opened(root)
      expect((await logged(root, next.trust))[0]).toBe(one)
      await expectMended(root, then === 'is killed' ? next : ledger, one)
    }
  },
)

test('on a disk that is really full, and then really read-only', async () => {
  const disk = await smallDisk(scratch())
  const ledger = await opened(disk.root)
  const one = await ledger.decide(1)
  disk.fill()
  expectDiskError(await failure(ledger.decide(2)), disk.root, 'ENOSPC')
  expect(await logged(disk.root, ledger.trust)).toEqual([one])
  disk.free()
  await disk.readOnly()
  expectDiskError(await failure(ledger.decide(2)), disk.root, 'EROFS')
  expect(await logged(disk.root, ledger.trust)).toEqual([one])
  await disk.writable()
  await expectMended(disk.root, ledger, one)
})
