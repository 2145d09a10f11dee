import { execa } from 'execa'
import { join } from 'node:path'
import { root } from '../demo/kiln.ts'
import { medianOf, type Part } from './figure.ts'
import { timedMs } from './timed.ts'

const rounds = 9

/** How long a person waits for `kiln --help`, beside a Node that does nothing. */
export const help: Part = {
  names: ['help_ms'],
  limitS: 60,
  async measure() {
    const kiln: number[] = []
    const bare: number[] = []
    for (let round = 0; round < rounds; round++) {
      kiln.push(await timedMs(() => execa(join(root, 'bin/kiln'), ['--help'])))
      bare.push(await timedMs(() => execa(process.execPath, ['-e', '0'])))
    }
    return [
      medianOf({
        name: 'help_ms',
        unit: 'ms',
        samples: kiln,
        baseline: { name: 'node -e 0', samples: bare },
        goal: { max: 300 },
      }),
    ]
  },
}
