import { execa } from 'execa'
import { createServer, type AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { startLoad, type Counted } from '../demo/load.ts'
import type { BenchKiln } from './bench-kiln.ts'
import { proved, thereAndBack } from './changes.ts'
import type { Part } from './figure.ts'
import { prodImage, runUntilReady, withNetwork } from './plain-containers.ts'
import { say } from './timed.ts'

const longestLoadS = 240
/** The load goes on for this long at least, so that fast changes do not leave too few requests. */
const leastLoadMs = 30_000
const replacements = 2

/** Requests sent and lost while prod is changed ten times, beside containers that are stopped and started. */
export function requests(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['requests_sent', 'requests_failed'],
    limitS: 420,
    async measure() {
      const running = await kiln()
      const { second } = await proved(running)
      const address = await running.prodAddress()
      const counted = await underLoad(address, async () => {
        const enough = pause(leastLoadMs)
        await thereAndBack(running, second)
        await enough
      })
      for (const error of counted.errors) say(`  lost: ${error}`)
      const naive = await withNetwork(async () => naively(await prodImage(running)))
      const lost = `stop, then start: ${replacements} replacements, ${naive.sent} sent`
      return [
        {
          name: 'requests_sent',
          value: counted.sent,
          unit: 'requests',
          goal: { min: 10_000 },
          samples: [counted.sent],
        },
        {
          name: 'requests_failed',
          value: counted.failed,
          unit: 'requests',
          baseline: { name: lost, value: naive.failed },
          goal: { max: 0 },
          samples: [counted.failed],
        },
      ]
    },
  }
}

async function underLoad(address: string, work: () => Promise<void>): Promise<Counted> {
  const load = startLoad(address, longestLoadS)
  try {
    await work()
  } catch (error) {
    await load.stop().catch(() => undefined)
    throw error
  }
  return load.stop()
}

/** One container behind a published port, replaced as people do by hand. */
async function naively(image: string): Promise<Counted> {
  const port = await freePort()
  const published = [`--publish=127.0.0.1:${port}:8080`]
  let id = await runUntilReady(image, published)
  return underLoad(`127.0.0.1:${port}`, async () => {
    for (let n = 0; n < replacements; n++) {
      await pause(1000)
      await execa('docker', ['stop', '--time=5', id])
      await execa('docker', ['rm', id])
      id = await runUntilReady(image, published)
    }
    await pause(1000)
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
      .once('error', reject)
      .listen(0, '127.0.0.1', () => {
        const { port } = server.address() as AddressInfo
        server.close(() => resolve(port))
      })
  })
}
