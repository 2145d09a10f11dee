import { parseArgs } from 'node:util'
import { judge } from './judge.ts'

/**
 * Judges a run by what it left: the ledger's files, and a folder with what was recorded beside it
 * (evidence.ts says what). Shares no code with Kiln.
 *
 *   node scripts/chaos/checker/main.ts --store DIR --trust DIR --evidence DIR --host NAME [--bound-seconds 120]
 *
 * Prints one JSON document. Exit code 0 when every promise held, 1 when one did not or was not proved,
 * 2 for wrong arguments.
 */
const { values } = parseArgs({
  options: {
    store: { type: 'string' },
    trust: { type: 'string' },
    evidence: { type: 'string' },
    host: { type: 'string', default: 'local' },
    'bound-seconds': { type: 'string', default: '120' },
  },
})
const { store, trust, evidence, host } = values
const boundMs = Number(values['bound-seconds']) * 1000
if (store === undefined || trust === undefined || evidence === undefined || !(boundMs > 0)) {
  process.stderr.write(
    'usage: --store DIR --trust DIR --evidence DIR --host NAME [--bound-seconds N]\n',
  )
  process.exitCode = 2
} else {
  const verdicts = judge({ store, trust, evidence, host, boundMs })
  process.stdout.write(`${JSON.stringify({ version: 1, promises: verdicts }, null, 2)}\n`)
  process.exitCode = verdicts.every(({ verdict }) => verdict === 'held') ? 0 : 1
}
