import { hasEnded, type Operation, type Step } from '../domain/operation.ts'
import type { Cli } from './context.ts'
import type { Output } from './output.ts'
import { shortResult } from './outcome.ts'
import { cleanLine, lengthOf } from './text.ts'

export const progressModes = ['auto', 'tty', 'plain', 'json'] as const
export type ProgressMode = (typeof progressModes)[number]

/** Shows snapshots of one operation on standard error. */
export type Progress = {
  show(event: number, operation: Operation): void
  /** Called when nothing has come for a while. */
  idle(): void
  /** How often `idle` is wanted, in milliseconds. */
  idleMs: number
  done(): void
}

export function createProgress(mode: ProgressMode, cli: Cli, output: Output): Progress {
  const terminal = cli.io.stderr.isTTY === true && cli.env['TERM'] !== 'dumb'
  switch (mode === 'auto' ? (terminal ? 'tty' : 'plain') : mode) {
    case 'tty':
      return treeProgress(cli, output)
    case 'plain':
      return plainProgress(cli, output)
    case 'json':
      return jsonProgress(cli)
  }
}

/** NDJSON, for programs that watch. */
function jsonProgress({ io }: Cli): Progress {
  return {
    show: (event, operation) =>
      void io.stderr.write(`${JSON.stringify({ version: 1, event, operation })}\n`),
    idle: () => undefined,
    idleMs: 60_000,
    done: () => undefined,
  }
}

function header({ kind, subject, id, result }: Operation): string {
  const commit = typeof result['commit'] === 'string' ? ` ${result['commit'].slice(0, 12)}` : ''
  const digest = shortResult(result['digest'])
  return cleanLine(`${kind} ${subject}${commit}${digest === '' ? '' : ` ${digest}`} (${id})`)
}

function took({ startedAt, endedAt }: Step, now: Date): string {
  if (startedAt === null) return ''
  const end = endedAt === null ? now.getTime() : Date.parse(endedAt)
  return ` ${lengthOf(Math.max(0, end - Date.parse(startedAt)))}`
}

function stepLine(step: Step, now: Date): string {
  const attempt = step.attempt > 1 ? ` attempt ${step.attempt}` : ''
  const detail = step.detail === null ? '' : `  ${step.detail}`
  return cleanLine(`${step.name}${attempt}${took(step, now)}${detail}`)
}

/** One line when a step begins and one when it ends, in the order of the steps. */
function plainProgress(cli: Cli, output: Output): Progress {
  const said = new Set<string>()
  let last: Operation | undefined
  const once = (key: string, line: string) => {
    if (said.has(key)) return
    said.add(key)
    output.talk(line)
  }
  return {
    show(_event, operation) {
      last = operation
      once('header', header(operation))
      for (const [at, step] of operation.steps.entries()) {
        if (step.state === 'waiting') continue
        const key = `${at} ${step.attempt}`
        if (step.state === 'running') once(`${key} begins`, `  ${cleanLine(step.name)} ...`)
        else once(`${key} ends`, `  ${stepLine(step, cli.now())}  ${step.state}`)
      }
    },
    idle() {
      const step = last?.steps.find((one) => one.state === 'running')
      if (last === undefined || hasEnded(last)) return
      output.talk(step === undefined ? '  still waiting' : `  still: ${stepLine(step, cli.now())}`)
    },
    idleMs: 30_000,
    done: () => undefined,
  }
}

/** The first so many characters as people count them. */
function cut(line: string, count: number): string {
  return Array.from(new Intl.Segmenter().segment(line), ({ segment }) => segment)
    .slice(0, count)
    .join('')
}

const marks = { waiting: '·', running: '▸', done: '✔', failed: '✘', skipped: '-' } as const
const colours = {
  waiting: 'dim',
  running: 'cyan',
  done: 'green',
  failed: 'red',
  skipped: 'dim',
} as const

/** A tree that is drawn again in its place; it never grows beyond the screen. */
function treeProgress({ io, now }: Cli, output: Output): Progress {
  let drawn = 0
  let last: Operation | undefined
  const draw = () => {
    if (last === undefined) return
    const { columns = 80, rows = 24 } = io.stderr
    const fit = (line: string) => cut(line, Math.max(20, columns - 4))
    const steps = last.steps.slice(-Math.max(1, rows - 4))
    const hidden = last.steps.length - steps.length
    const lines = [
      output.paint('bold', fit(header(last))),
      ...(hidden > 0 ? [output.paint('dim', `  … ${hidden} steps before`)] : []),
      ...steps.map((step) =>
        output.paint(colours[step.state], `  ${marks[step.state]} ${fit(stepLine(step, now()))}`),
      ),
    ]
    const back = drawn === 0 ? '' : `\u001B[${drawn}A`
    io.stderr.write(`${back}${lines.map((line) => `\u001B[2K${line}\n`).join('')}\u001B[0J`)
    drawn = lines.length
  }
  return {
    show(_event, operation) {
      last = operation
      draw()
    },
    idle: draw,
    idleMs: 1000,
    done: () => undefined,
  }
}
