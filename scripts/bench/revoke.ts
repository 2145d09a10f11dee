import type { Digest } from '../../src/domain/digest.ts'
import { hasEnded } from '../../src/domain/operation.ts'
import { eventually } from '../demo/kiln.ts'
import type { BenchKiln } from './bench-kiln.ts'
import { medianOf, type Part } from './figure.ts'
import { prodImage, removeContainers, runUntilReady, withNetwork } from './plain-containers.ts'
import { timedS } from './timed.ts'

const rounds = 3
const stages = ['dev', 'test', 'prod'] as const

/** A denial until nothing serves the artifact in three environments, beside two containers that are replaced. */
export function revocation(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['revoke_to_replaced_s'],
    limitS: 300,
    async measure() {
      const running = await kiln()
      await everywhere(running)
      const image = await prodImage(running)
      const samples: number[] = []
      const baseline: number[] = []
      await withNetwork(async () => {
        for (let round = 0; round < rounds; round++) {
          const digest = await everywhere(running)
          samples.push(await timedS(() => revoke(running, digest)))
          for (const stage of stages) await running.release(stage)
          let ids = await Promise.all([runUntilReady(image), runUntilReady(image)])
          baseline.push(
            await timedS(async () => {
              await removeContainers(ids)
              ids = await Promise.all([runUntilReady(image), runUntilReady(image)])
            }),
          )
          await removeContainers(ids)
        }
      })
      return [
        medianOf({
          name: 'revoke_to_replaced_s',
          unit: 's',
          samples,
          baseline: {
            name: 'docker rm -f and docker run of two hardened containers',
            samples: baseline,
          },
          goal: { max: 10 },
        }),
      ]
    },
  }
}

/** A new artifact that serves in all three environments. */
async function everywhere(kiln: BenchKiln): Promise<Digest> {
  const { digest } = await kiln.deliver(await kiln.commit())
  for (const stage of stages.slice(1)) await kiln.promote(stage, digest)
  return digest
}

async function revoke({ api }: BenchKiln, digest: Digest): Promise<void> {
  const subject = { kind: 'artifact', digest } as const
  const { operation } = await api.revoke({ body: { subject, reason: 'bench' } })
  const ended = await eventually('the denial is carried through', 120, async () => {
    const now = (await api.operation({ params: { id: operation.id } })).operation
    return hasEnded(now) ? now : undefined
  })
  const returned = stages.every((stage) =>
    String(ended.result[`hello/${stage}`]).startsWith('returned to'),
  )
  if (!returned) throw new Error(`${ended.state}: ${JSON.stringify(ended.result)}`)
}
