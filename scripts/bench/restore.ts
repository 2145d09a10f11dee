import { execa } from 'execa'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from '../../src/api/client.ts'
import { eventually } from '../demo/kiln.ts'
import { home, type BenchKiln } from './bench-kiln.ts'
import { proved } from './changes.ts'
import { medianOf, type Part } from './figure.ts'
import { prodImage, removeContainers, runUntilReady, withNetwork } from './plain-containers.ts'
import { timedS } from './timed.ts'

/** From a machine on which nothing is left but the engine's cache of images to every environment serving. */
export function restore(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['restore_s'],
    limitS: 600,
    async measure() {
      const running = await kiln()
      await proved(running)
      const count = await instances(running.api)
      const folder = await mkdtemp(join(tmpdir(), 'kiln-bench-backup-'))
      try {
        const baseline = await plainly(await prodImage(running), count)
        const seconds = await restored(running, folder)
        return [
          medianOf({
            name: 'restore_s',
            unit: 's',
            samples: [seconds],
            baseline: { name: `docker run of the same ${count} containers`, samples: [baseline] },
          }),
        ]
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
}

async function instances(api: Client): Promise<number> {
  const { items } = await api.environments({})
  return items.reduce((sum, one) => sum + (one.active === null ? 0 : one.instances.wanted), 0)
}

async function plainly(image: string, count: number): Promise<number> {
  return withNetwork(async () => {
    let ids: string[] = []
    const seconds = await timedS(async () => {
      ids = await Promise.all(Array.from({ length: count }, () => runUntilReady(image)))
    })
    await removeContainers(ids)
    return seconds
  })
}

/** The backup is made before the clock starts; restore, start and the host's work are what is timed. */
async function restored({ own }: BenchKiln, folder: string): Promise<number> {
  const passphrase = join(folder, 'passphrase')
  await writeFile(passphrase, 'a passphrase of the bench\n', { mode: 0o600 })
  const backup = join(folder, 'backup')
  await own.cli('backup', backup, '--passphrase-file', passphrase)
  await own.cli('down')
  const filter = ['--filter', 'label=kiln.host=bench']
  const { stdout } = await execa('docker', ['ps', '-aq', ...filter])
  await execa('docker', ['rm', '-f', ...stdout.split('\n')])
  await rm(home, { recursive: true })
  return timedS(async () => {
    await own.cli('restore', backup, '--passphrase-file', passphrase)
    await own.cli('up')
    await eventually('every environment serves', 300, () => serving(own))
  })
}

async function serving(own: BenchKiln['own']): Promise<true | undefined> {
  const { items } = await (await own.api()).environments({})
  const active = items.filter((one) => one.active !== null)
  const answers = await Promise.all(
    active.map(({ address }) => fetch(String(address)).catch(() => undefined)),
  )
  const all = answers.every((answer) => answer?.ok === true)
  return all && active.every(({ open }) => open === null) ? true : undefined
}
