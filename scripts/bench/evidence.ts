import { execa } from 'execa'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { names, statementName } from '../../src/ledger/evidence/format.ts'
import { home, type BenchKiln } from './bench-kiln.ts'
import { proved } from './changes.ts'
import { rounded, type Part } from './figure.ts'

/** How large the file is that an auditor takes away, beside the one statement that it is about. */
export function evidence(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['evidence_kb'],
    limitS: 120,
    async measure() {
      const running = await kiln()
      await proved(running)
      const file = join(home, 'bench.evidence.tar')
      await running.own.cli('evidence', 'hello/prod', '--output', file)
      const { size } = await stat(file)
      const key = await keyBundleBytes(file)
      return [
        {
          name: 'evidence_kb',
          value: rounded(size / 1000),
          unit: 'kB',
          baseline: { name: "the key's Sigstore bundle alone", value: rounded(key / 1000) },
          samples: [rounded(size / 1000)],
        },
      ]
    },
  }
}

async function keyBundleBytes(file: string): Promise<number> {
  const { stdout } = await execa('tar', ['-xOf', file, names.index])
  const { key } = JSON.parse(stdout) as { key: number }
  const bundle = await execa('tar', ['-xOf', file, statementName(key, 'key')])
  return Buffer.byteLength(bundle.stdout)
}
