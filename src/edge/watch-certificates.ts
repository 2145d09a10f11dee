import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import { replaceFile } from '../store/replace-file.ts'
import {
  acceptedIn,
  putAccepted,
  readAccepted,
  judgeOffered,
  readOffered,
  type Offered,
} from './certificate-files.ts'
import { factsOf, refused, type GoodCertificate, type Judged } from './certificate.ts'
import { loadShape, type Edge } from './edge.ts'
import type { EntranceTls } from './entrance.ts'

export type CertificateDependencies = {
  edge: Edge
  tls: EntranceTls
  /** The operator's folder. */
  folder: string
  /** Where it is said what is served; nothing secret is in it. */
  report: string
  logger: Logger
  now: () => Date
  haproxy?: string
}

/** One certificate as people see it. A fault with `expires` set: the earlier one is still served. */
export type CertificateReport = {
  name: string
  hosts: readonly string[]
  expires: string | null
  fault: { rule: string; message: string; fix: string } | null
}

const pollMs = 2000
/** A file that is replaced may be away for a moment; only then is its certificate no longer served. */
const goneAfterMs = 60_000

/**
 * Compares the operator's folder with what is served every two seconds. A good certificate is loaded by a
 * reload that loses no request; a bad one is refused with its reason, and the earlier one stays.
 */
export async function watchCertificates(
  dependencies: CertificateDependencies,
  signal: AbortSignal,
): Promise<void> {
  const memory: Memory = { said: new Map(), goneSince: new Map(), written: '' }
  while (!signal.aborted) {
    await lookAtCertificates(dependencies, memory).catch((error: unknown) => {
      dependencies.logger.warn({ err: error }, 'cannot look at the certificates')
    })
    await delay(pollMs, undefined, { signal }).catch(() => undefined)
  }
}

export type Memory = {
  /** What was last logged of each name: it is said once. */
  said: Map<string, string>
  goneSince: Map<string, number>
  written: string
}

/** One look, and what follows from it. */
export async function lookAtCertificates(
  dependencies: CertificateDependencies,
  memory: Memory,
): Promise<void> {
  const { folder, tls, now } = dependencies
  const offered = await readOffered(folder)
  const judged: Judged[] = []
  for (const one of offered) judged.push(await settle(dependencies, one))
  await forget(dependencies, memory, new Set(offered.map(({ name }) => name)))
  for (const one of judged) say(dependencies, memory, one)
  const accepted = await acceptedIn(tls.folder)
  const reports = await Promise.all(
    [...new Set([...accepted.keys(), ...judged.map(({ name }) => name)])]
      .toSorted()
      .map((name) => reportOf(tls.folder, name, { judged, now: now() })),
  )
  const text = `${JSON.stringify(reports, null, 2)}\n`
  if (text !== memory.written) await replaceFile(dependencies.report, text)
  memory.written = text
}

async function settle(
  dependencies: CertificateDependencies,
  one: Offered | Exclude<Judged, GoodCertificate>,
): Promise<Judged> {
  const judged = judgeOffered(one, dependencies.now())
  if (judged.kind === 'refused') return judged
  if ((await readAccepted(dependencies.tls.folder, judged.name)) === judged.pem) return judged
  try {
    await load(dependencies, judged.name, judged.pem)
    return judged
  } catch (error) {
    if (!(error instanceof KilnError) || error.code !== 'internal') throw error
    dependencies.logger.warn({ certificate: judged.name, lines: error.lines }, error.message)
    return refused(judged.name, 'refused-by-haproxy', `${judged.name}: HAProxy does not take it`)
  }
}

/** Writes it where HAProxy reads and lets HAProxy load it; a file that it refuses is taken back. */
async function load(
  { edge, tls, haproxy = 'haproxy' }: CertificateDependencies,
  name: string,
  pem: string | null,
): Promise<void> {
  let before: string | null = null
  try {
    await edge.write(
      async (state) => {
        before = await readAccepted(tls.folder, name)
        await putAccepted(tls.folder, name, pem)
        return state
      },
      () => loadShape(edge.paths, haproxy),
    )
  } catch (error) {
    await edge.write(async (state) => {
      await putAccepted(tls.folder, name, before)
      return state
    })
    throw error
  }
}

async function forget(
  dependencies: CertificateDependencies,
  { goneSince }: Memory,
  offered: ReadonlySet<string>,
): Promise<void> {
  const time = dependencies.now().getTime()
  for (const name of (await acceptedIn(dependencies.tls.folder)).keys()) {
    if (offered.has(name)) {
      goneSince.delete(name)
      continue
    }
    const since = goneSince.get(name) ?? time
    goneSince.set(name, since)
    if (time - since < goneAfterMs) continue
    await load(dependencies, name, null)
    dependencies.logger.info({ certificate: name }, 'its file is gone; no longer served')
  }
}

function say({ logger }: CertificateDependencies, { said }: Memory, one: Judged): void {
  const text = one.kind === 'good' ? one.digest : `${one.fault} ${one.message}`
  if (said.get(one.name) === text) return
  said.set(one.name, text)
  if (one.kind === 'good') {
    const { name, hosts, expires } = one
    return logger.info({ certificate: name, hosts, expires }, 'certificate served')
  }
  const { name, fault, message, fix } = one
  return logger.warn({ certificate: name, fault, fix }, `certificate refused: ${message}`)
}

async function reportOf(
  folder: string,
  name: string,
  { judged, now }: { judged: readonly Judged[]; now: Date },
): Promise<CertificateReport> {
  const pem = await readAccepted(folder, name)
  const served = pem === null ? null : factsOf(pem)
  const own = judged.find((one) => one.name === name)
  const { hosts = [], expires = null } = served ?? {}
  return { name, hosts, expires, fault: faultOf(own, expires, now) }
}

/** Why what is offered is not served, or that what is served ran out: nobody renewed it. */
function faultOf(
  own: Judged | undefined,
  expires: string | null,
  now: Date,
): CertificateReport['fault'] {
  if (own?.kind === 'refused') return { rule: own.fault, message: own.message, fix: own.fix }
  if (expires === null || now < new Date(expires)) return null
  return { rule: 'expired', message: `expired ${expires}`, fix: 'renew it' }
}

const form = z.array(
  z.object({
    name: z.string(),
    hosts: z.array(z.string()),
    expires: z.string().nullable(),
    fault: z.object({ rule: z.string(), message: z.string(), fix: z.string() }).nullable(),
  }),
)

/** What the host last said of the certificates; empty when it has said nothing. */
export async function readCertificateReport(path: string): Promise<CertificateReport[]> {
  const text = await readFile(path, 'utf8').catch(() => '[]')
  return form.catch([]).parse(JSON.parse(text))
}
