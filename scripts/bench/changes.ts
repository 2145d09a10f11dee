import type { Digest } from '../../src/domain/digest.ts'
import type { Operation } from '../../src/domain/operation.ts'
import type { BenchKiln } from './bench-kiln.ts'
import { medianOf, type Part } from './figure.ts'
import { prodImage, removeContainers, runUntilReady, withNetwork } from './plain-containers.ts'
import { breakdown, type Sample } from './steps.ts'
import { timedS } from './timed.ts'

const rounds = 5
const plain = 'docker run of two hardened containers until they answer'

/** A promotion to two instances and the way back, beside two containers that are only started. */
export function changes(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['promote_s', 'rollback_s'],
    limitS: 420,
    async measure() {
      const running = await kiln()
      const { second } = await proved(running)
      const image = await prodImage(running)
      const baseline: number[] = []
      const { promotions, rollbacks } = await withNetwork(() =>
        thereAndBack(running, second, async () => {
          let ids: string[] = []
          baseline.push(
            await timedS(async () => {
              ids = await Promise.all([runUntilReady(image), runUntilReady(image)])
            }),
          )
          await removeContainers(ids)
        }),
      )
      const figure = (name: string, samples: readonly Sample[], max: number) =>
        medianOf({
          name,
          unit: 's',
          samples: samples.map(({ seconds }) => seconds),
          baseline: { name: plain, samples: baseline },
          goal: { max },
        })
      return [
        figure('promote_s', promotions, 5),
        ...breakdown('promote', promotions),
        figure('rollback_s', rollbacks, 3),
        ...breakdown('rollback', rollbacks),
      ]
    },
  }
}

/** Two artifacts that `test` has proved; prod runs the first of them. */
export async function proved(kiln: BenchKiln): Promise<{ first: Digest; second: Digest }> {
  const one = async () => {
    const { digest } = await kiln.deliver(await kiln.commit())
    await kiln.promote('test', digest)
    return digest
  }
  const first = await one()
  const second = await one()
  await kiln.promote('prod', first)
  return { first, second }
}

/** Promotes prod to the artifact and rolls it back, again and again. */
export async function thereAndBack(
  kiln: BenchKiln,
  digest: Digest,
  afterEach: () => Promise<void> = async () => undefined,
): Promise<{ promotions: Sample[]; rollbacks: Sample[] }> {
  const promotions: Sample[] = []
  const rollbacks: Sample[] = []
  for (let round = 0; round < rounds; round++) {
    promotions.push(await sample(() => kiln.promote('prod', digest)))
    rollbacks.push(await sample(() => kiln.rollback('prod')))
    await kiln.release('prod')
    await afterEach()
  }
  return { promotions, rollbacks }
}

async function sample(change: () => Promise<Operation>): Promise<Sample> {
  let steps: Operation['steps'] = []
  const seconds = await timedS(async () => {
    ;({ steps } = await change())
  })
  return { seconds, steps }
}
