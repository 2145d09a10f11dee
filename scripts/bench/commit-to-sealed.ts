import type { BenchKiln } from './bench-kiln.ts'
import { medianOf, type Part } from './figure.ts'
import { plainBuild } from './plain-build.ts'
import { breakdown, type Sample } from './steps.ts'
import { timedS } from './timed.ts'

const rounds = 5

/** From a commit that changes one file to its sealed artifact, beside `docker build` of the same. */
export function commitToSealed(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['commit_to_sealed_s'],
    limitS: 420,
    async measure() {
      const running = await kiln()
      await running.deliver(await running.commit())
      const plain = await plainBuild(running)
      try {
        await plain.build()
        const samples: Sample[] = []
        const baseline: number[] = []
        for (let round = 0; round < rounds; round++) {
          samples.push(await measured(running))
          await plain.change()
          baseline.push(await timedS(plain.build))
        }
        return [
          medianOf({
            name: 'commit_to_sealed_s',
            unit: 's',
            samples: samples.map(({ seconds }) => seconds),
            baseline: { name: 'docker build of the same Dockerfile and files', samples: baseline },
            goal: { max: 4 },
          }),
          ...breakdown('commit_to_sealed', samples),
        ]
      } finally {
        await plain.remove()
      }
    },
  }
}

async function measured(kiln: BenchKiln): Promise<Sample> {
  const commit = await kiln.commit()
  const began = Date.now()
  const { sealedAt, steps } = await kiln.deliver(commit)
  return { seconds: (sealedAt - began) / 1000, steps }
}
