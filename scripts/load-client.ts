import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { Agent, request, type IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'

/**
 * A load client, a process of its own: POST requests with ids over keep-alive connections, or with --fresh
 * each over its own, never sent twice, until its input closes, SIGTERM, or a limit. Prints one line of
 * JSON at its end.
 *
 *   node scripts/load-client.ts --address 127.0.0.1:8080 [--path /] [--connections 4]
 *     [--max-seconds 600] [--max-requests 1000000] [--delay-ms 0] [--pause-ms 0] [--fresh]
 *     [--journal FILE --environment NAME]
 *
 * Exit code 0 when it ran, whatever the answers were; 2 for wrong arguments.
 */

type Plan = {
  host: string
  port: number
  path: string
  connections: number
  maxSeconds: number
  maxRequests: number
  /** Asked of the service in each request's body: how long it shall take. */
  delayMs: number
  /** How long a connection rests between an answer and its next request. */
  pauseMs: number
  /** File that gets a line of JSON for every request; empty for none. */
  journal: string
  environment: string
  /** A connection for each request, instead of some that are kept. */
  fresh: boolean
}

type Report = {
  sent: number
  ok: number
  failed: number
  /** The first failures, as people need them. */
  errors: string[]
  /** Answers by the instance that gave them, as the edge names it. */
  perInstance: Record<string, number>
  p50: number
  p99: number
}

const shownErrors = 20
const answerWithinMs = 30_000
const pauseAfterFailureMs = 20
const loopback = new Set(['127.0.0.1', '::1', 'localhost'])

const option = (value: string) => ({ type: 'string', default: value }) as const

function readPlan(argv: readonly string[]): Plan {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      address: option(''),
      path: option('/'),
      connections: option('4'),
      'max-seconds': option('600'),
      'max-requests': option('1000000'),
      'delay-ms': option('0'),
      'pause-ms': option('0'),
      journal: option(''),
      environment: option(''),
      fresh: { type: 'boolean', default: false },
    },
  })
  const [, host = '', port = ''] = /^(?:http:\/\/)?(.+):(\d+)\/?$/.exec(values.address) ?? []
  if (!loopback.has(host.replace(/^\[|\]$/g, ''))) {
    throw new Error(`--address must be a port of this machine, such as 127.0.0.1:8080`)
  }
  return {
    host: host.replace(/^\[|\]$/g, ''),
    port: positive('address', port),
    path: values.path,
    connections: positive('connections', values.connections),
    maxSeconds: positive('max-seconds', values['max-seconds']),
    maxRequests: positive('max-requests', values['max-requests']),
    delayMs: Number(values['delay-ms']),
    pauseMs: Number(values['pause-ms']),
    journal: values.journal,
    environment: values.environment,
    fresh: values.fresh,
  }
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new Error(`--${name} must be a positive number`)
}

async function run(plan: Plan): Promise<Report> {
  const agent = new Agent({ keepAlive: !plan.fresh, maxSockets: plan.connections })
  const report: Report = { sent: 0, ok: 0, failed: 0, errors: [], perInstance: {}, p50: 0, p99: 0 }
  const timesMs: number[] = []
  const stopped = stopSignal(plan.maxSeconds)
  const journal = plan.journal === '' ? undefined : createWriteStream(plan.journal, { flags: 'a' })

  const worker = async () => {
    while (!stopped.aborted && report.sent < plan.maxRequests) {
      report.sent++
      const id = randomUUID()
      const at = Date.now()
      const began = performance.now()
      const note = (outcome: { ok: boolean; error: string; instance: string }) =>
        journal?.write(
          `${JSON.stringify({ id, at, ms: Math.ceil(performance.now() - began), environment: plan.environment, ...outcome })}\n`,
        )
      try {
        const instance = await post(plan, agent, id)
        note({ ok: true, error: '', instance })
        report.ok++
        report.perInstance[instance] = (report.perInstance[instance] ?? 0) + 1
        timesMs.push(performance.now() - began)
      } catch (error) {
        report.failed++
        const message = `${new Date().toISOString()} ${error instanceof Error ? error.message : String(error)}`
        if (report.errors.length < shownErrors) report.errors.push(message)
        const instance = error instanceof BadAnswer ? error.instance : ''
        note({ ok: false, error: message, instance })
        // Where nobody listens, answers come faster than any service could give them.
        await delay(pauseAfterFailureMs)
      }
      if (plan.pauseMs > 0) await delay(plan.pauseMs)
    }
  }
  await Promise.all(Array.from({ length: plan.connections }, worker))
  agent.destroy()
  if (journal !== undefined) await new Promise((resolve) => journal.end(() => resolve(undefined)))
  timesMs.sort((a, b) => a - b)
  return { ...report, p50: percentile(timesMs, 0.5), p99: percentile(timesMs, 0.99) }
}

function percentile(sorted: readonly number[], part: number): number {
  const found = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
  return Math.round(found * 100) / 100
}

function stopSignal(maxSeconds: number): AbortSignal {
  const stop = new AbortController()
  const timer = setTimeout(() => stop.abort(), maxSeconds * 1000)
  timer.unref()
  process.once('SIGTERM', () => stop.abort())
  process.once('SIGINT', () => stop.abort())
  process.stdin.resume()
  process.stdin.once('end', () => stop.abort())
  process.stdin.unref?.()
  return stop.signal
}

/** One request, never repeated. Resolves to the instance that answered 2xx and, where it speaks JSON of ids, ours. */
function post({ host, port, path, delayMs }: Plan, agent: Agent, id: string): Promise<string> {
  const body = JSON.stringify({ id, delayMs })
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'x-request-id': id,
    }
    const sending = request(
      { host, port, path, method: 'POST', agent, headers, timeout: answerWithinMs },
      (response) => {
        const instance = String(response.headers['x-kiln-instance'] ?? '')
        readAnswer(response, id).then(
          () => resolve(instance === '' ? 'unknown' : instance),
          (error: Error) => reject(new BadAnswer(error.message, instance)),
        )
      },
    )
    sending.on('timeout', () => sending.destroy(new Error('no answer in 30 s')))
    sending.on('error', reject)
    sending.end(body)
  })
}

/** An answer that is none: not 2xx, cut off, or another request's; with the instance that the edge names. */
class BadAnswer extends Error {
  readonly instance: string
  constructor(message: string, instance: string) {
    super(message)
    this.instance = instance
  }
}

async function readAnswer(response: IncomingMessage, id: string): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString('utf8')
  const status = response.statusCode ?? 0
  if (status < 200 || status > 299)
    throw new Error(`status ${status}: ${text.slice(0, 100).trim()}`)
  if (!/^application\/json\b/.test(response.headers['content-type'] ?? '')) return
  const answer: unknown = JSON.parse(text)
  if (typeof answer !== 'object' || answer === null || !('id' in answer)) return
  if (answer.id !== id) throw new Error(`another request's answer: ${String(answer.id)}`)
}

try {
  const report = await run(readPlan(process.argv.slice(2)))
  process.stdout.write(`${JSON.stringify(report)}\n`)
  process.exitCode = 0
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 2
}
