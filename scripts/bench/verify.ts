import { execa } from 'execa'
import { createSign, createVerify, generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import pino from 'pino'
import { verifyKey, type KeyQuestion } from '../../signing/verify-key.ts'
import { loadConfig } from '../../src/main/config.ts'
import { openLedgerView } from '../../src/main/ledger-view.ts'
import { keyAsked } from '../../src/main/verified-key.ts'
import { root } from '../demo/kiln.ts'
import { home, type BenchKiln } from './bench-kiln.ts'
import { proved } from './changes.ts'
import { median, medianOf, rounded, type Figure, type Part } from './figure.ts'
import { timedMs } from './timed.ts'

const rounds = 9
const inProcess = 200
const environment = 'hello/prod'

/** A key is judged: by the command, in turns with cosign on the same artifact, and by the function alone. */
export function verification(kiln: () => Promise<BenchKiln>): Part {
  return {
    names: ['verify_key_ms', 'verify_key_in_process_ms'],
    limitS: 240,
    async measure() {
      const running = await kiln()
      await proved(running)
      return [await asCommand(running), await asFunction()]
    },
  }
}

async function asCommand({ own }: BenchKiln): Promise<Figure> {
  const { command } = JSON.parse(await own.cli('verify', environment, '--json')) as {
    command: string
  }
  const [samples, baseline]: [number[], number[]] = [[], []]
  for (let round = 0; round < rounds; round++) {
    samples.push(await timedMs(() => own.cli('verify', environment)))
    baseline.push(await timedMs(() => execa('sh', ['-c', command], { cwd: root })))
  }
  return medianOf({
    name: 'verify_key_ms',
    unit: 'ms',
    samples,
    baseline: { name: 'cosign verify-attestation of the same artifact', samples: baseline },
    goal: { max: rounded(median(baseline)) },
  })
}

async function asFunction(): Promise<Figure> {
  const question = await questionAbout()
  const one = ecdsa()
  const [samples, baseline]: [number[], number[]] = [[], []]
  for (let round = 0; round < inProcess; round++) {
    samples.push(await timedMs(async () => demandGood(question)))
    baseline.push(await timedMs(async () => one()))
  }
  return medianOf({
    name: 'verify_key_in_process_ms',
    unit: 'ms',
    samples,
    baseline: { name: 'one ECDSA P-256 signature verified by node:crypto', samples: baseline },
    goal: { max: 10 },
  })
}

/** What a host asks before it starts an instance, from the object store alone. */
async function questionAbout(): Promise<KeyQuestion> {
  const { paths, store } = loadConfig({ KILN_HOME: home }, join(home, '..'))
  const { reader } = await openLedgerView(paths, pino({ level: 'silent' }), { place: store })
  const ledger = await reader.refresh()
  const key = keyAsked({ reader, ledger }, environment, undefined)
  const { digest, definition } = key.body
  return {
    bundle: await reader.bundleOf(key.leaf),
    trust: reader.trust(),
    expected: { environment, digest, definition },
    facts: { ledger },
  }
}

function demandGood(question: KeyQuestion): void {
  const failed = verifyKey(question).checks.filter(({ ok }) => !ok)
  if (failed.length > 0) throw new Error(`not verified: ${JSON.stringify(failed)}`)
}

function ecdsa(): () => void {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const data = Buffer.alloc(1000, 'k')
  const signature = createSign('sha256').update(data).sign(privateKey)
  return () => {
    if (!createVerify('sha256').update(data).verify(publicKey, signature)) throw new Error('no')
  }
}
