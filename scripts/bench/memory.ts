import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import type { BenchKiln } from './bench-kiln.ts'
import { proved, thereAndBack } from './changes.ts'
import { medianOf, type Part } from './figure.ts'

const looks = 15
const betweenMs = 1000

/** Resident memory of the server process while nobody asks for anything, beside a Node that does nothing. */
export function memory(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['rss_idle_mb'],
    limitS: 240,
    async measure() {
      const { pid } = await kiln()
      const server = await pid('server')
      const bare = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
        stdio: 'ignore',
      })
      const ended = once(bare, 'exit')
      try {
        await once(bare, 'spawn')
        const samples: number[] = []
        const baseline: number[] = []
        for (let look = 0; look < looks; look++) {
          await pause(betweenMs)
          samples.push(await residentMb(server))
          baseline.push(await residentMb(bare.pid ?? 0))
        }
        return [
          medianOf({
            name: 'rss_idle_mb',
            unit: 'MB',
            samples,
            baseline: { name: 'a node process that waits', samples: baseline },
            goal: { max: 300 },
          }),
        ]
      } finally {
        bare.kill()
        await ended
      }
    },
  }
}

/** The same after builds and changes, when all of them have ended. */
export function memoryAfterWork(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['rss_after_work_mb'],
    limitS: 300,
    async measure() {
      const running = await kiln()
      await thereAndBack(running, (await proved(running)).second)
      const server = await running.pid('server')
      const samples: number[] = []
      for (let look = 0; look < 2 * looks; look++) {
        await pause(betweenMs)
        samples.push(await residentMb(server))
      }
      return [medianOf({ name: 'rss_after_work_mb', unit: 'MB', samples })]
    },
  }
}

/** VmRSS of proc(5), in units of 10^6 bytes. */
export async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? []
  if (kib === undefined) throw new Error(`process ${pid} has no memory to be measured`)
  return (Number(kib) * 1024) / 1e6
}
