import { execa } from 'execa'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { followed } from '../demo/kiln.ts'
import type { BenchKiln } from './bench-kiln.ts'
import { medianOf, type Part } from './figure.ts'
import { timedS } from './timed.ts'

const instances = 20
/** The budget allows three replacements for one cause: more would measure the alarm. */
const kills = 3
const scans = 5
const dev = { params: { app: 'hello', environment: 'dev' }, query: {} }

/** A kill by hand until another instance serves in its place, and a deep look at twenty instances. */
export function drift(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['drift_event_to_replaced_s', 'drift_scan_s'],
    limitS: 420,
    async measure() {
      const running = await kiln()
      await allowMany(running)
      await scale(running, 2)
      const replaced: number[] = []
      const plain: number[] = []
      for (let round = 0; round < kills; round++) {
        replaced.push(await timedS(() => killed(running)))
        plain.push(await restarted(running))
      }
      await scale(running, instances)
      const ids = (await running.api.environment(dev)).running.map(({ id }) => id)
      const looks: number[] = []
      const inspects: number[] = []
      for (let round = 0; round < scans; round++) {
        looks.push(await timedS(() => scanned(running)))
        inspects.push(await timedS(() => execa('docker', ['inspect', ...ids])))
      }
      // What is measured next shall not carry them.
      await scale(running, 1)
      return [
        medianOf({
          name: 'drift_event_to_replaced_s',
          unit: 's',
          samples: replaced,
          baseline: { name: 'docker restart -t 0 of one such container', samples: plain },
        }),
        medianOf({
          name: 'drift_scan_s',
          unit: 's',
          samples: looks,
          baseline: { name: 'docker inspect of the same twenty', samples: inspects },
        }),
      ]
    },
  }
}

async function allowMany({ repository, deliver, commit }: BenchKiln): Promise<void> {
  const path = join(repository.path, 'kiln.yaml')
  const text = await readFile(path, 'utf8')
  const wider = `  - name: dev\n    instances: { min: 1, max: ${instances} }\n`
  await writeFile(path, text.replace('  - name: dev\n', wider))
  await deliver(await commit())
}

async function scale({ api }: BenchKiln, count: number): Promise<void> {
  const { operation } = await api.scale({ ...dev, body: { instances: count, reason: 'bench' } })
  await followed(api, operation)
}

/** Kills an instance as a person would, and waits until the replacement's outcome is on record. */
async function killed({ api }: BenchKiln): Promise<void> {
  const { epoch, running } = await api.environment(dev)
  await execa('docker', ['kill', running[0]?.id ?? ''])
  for (;;) {
    const now = await api.environment(dev)
    if (now.epoch > epoch && now.open === null) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Beside what Kiln runs, so that Kiln has nothing to do with it. */
async function restarted({ api }: BenchKiln): Promise<number> {
  const { running } = await api.environment(dev)
  const { stdout: image } = await execa('docker', [
    'inspect',
    '--format',
    '{{.Image}}',
    running[0]?.id ?? '',
  ])
  const { stdout: id } = await execa('docker', ['run', '-d', '-e', 'PORT=8080', image])
  const seconds = await timedS(() => execa('docker', ['restart', '-t', '0', id]))
  await execa('docker', ['rm', '-f', id])
  return seconds
}

async function scanned({ api }: BenchKiln): Promise<void> {
  const { findings, complete } = await api.scan(dev)
  if (findings.length > 0 || !complete) throw new Error(`drift: ${JSON.stringify(findings)}`)
}
