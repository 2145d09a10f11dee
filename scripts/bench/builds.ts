import { setTimeout as pause } from 'node:timers/promises'
import { followed } from '../demo/kiln.ts'
import type { BenchKiln } from './bench-kiln.ts'
import { medianOf, rounded, type Part } from './figure.ts'
import { residentMb } from './memory.ts'
import { say, timedS } from './timed.ts'

const rounds = 5
const builds = 100
/** Where a slow machine stops: the figure then says of how many builds it is. */
const longestMs = 12 * 60_000

/** A branch that was built before is asked for again: found to be the same, and nothing is built. */
export function buildUnchanged(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['build_unchanged_s'],
    limitS: 240,
    async measure() {
      const running = await kiln()
      const samples: number[] = []
      const baseline: number[] = []
      for (let round = 0; round < rounds; round++) {
        const commit = await running.commit()
        const began = Date.now()
        const { sealedAt } = await running.deliver(commit)
        baseline.push((sealedAt - began) / 1000)
        samples.push(await timedS(() => again(running)))
      }
      return [
        medianOf({
          name: 'build_unchanged_s',
          unit: 's',
          samples,
          baseline: {
            name: 'the same from a new commit to its sealed artifact',
            samples: baseline,
          },
        }),
      ]
    },
  }
}

async function again({ api, repository }: BenchKiln): Promise<void> {
  const { operation } = await api.startBuild({
    params: {},
    query: {},
    body: { repository: repository.path, revision: 'main' },
  })
  const { state } = await followed(api, operation)
  if (state !== 'unchanged') throw new Error(`a build of what was built before ended ${state}`)
}

/** Resident memory of the two processes that builds go through, after a hundred of them beside before. */
export function memoryAfterBuilds(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['rss_after_100_builds_mb'],
    limitS: 900,
    async measure() {
      const running = await kiln()
      const before = await settled(running)
      const end = Date.now() + longestMs
      let done = 0
      while (done < builds && Date.now() < end) {
        await running.deliver(await running.commit())
        done += 1
      }
      say(`  ${done} builds`)
      if (done < builds) throw new Error(`only ${done} of ${builds} builds were done in time`)
      const after = await settled(running)
      return [
        {
          name: 'rss_after_100_builds_mb',
          value: rounded(after),
          unit: 'MB',
          baseline: { name: 'before them', value: rounded(before) },
          samples: [rounded(after)],
        },
      ]
    },
  }
}

/** The least of some looks: what stays when garbage was collected. */
async function settled({ pid }: BenchKiln): Promise<number> {
  const pids = [await pid('server'), await pid('build')]
  let least = Number.POSITIVE_INFINITY
  for (let look = 0; look < 15; look++) {
    await pause(1000)
    const sizes = await Promise.all(pids.map(residentMb))
    least = Math.min(
      least,
      sizes.reduce((sum, size) => sum + size, 0),
    )
  }
  return least
}
