import { styleText } from 'node:util'
import type { Env, Io } from './context.ts'
import { cleanLine } from './text.ts'

type Style = Parameters<typeof styleText>[0]

/** Data goes to standard output, talk to standard error. */
export type Output = {
  /** One line of data. */
  data: (line: string) => void
  /** One line for the person. */
  talk: (line: string) => void
  /** One JSON document, or one line of NDJSON; its first field is the format's version. */
  document: (fields: Readonly<Record<string, unknown>>) => void
  /** A table on a terminal; tab-separated values without a head when piped. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): Promise<void>
  /** Colours where a person looks on and did not say NO_COLOR. */
  paint: (style: Style, text: string) => string
}

export function createOutput(io: Io, env: Env): Output {
  const coloured = (stream: { isTTY?: boolean }) =>
    stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb'
  const data = (line: string) => void io.stdout.write(`${line}\n`)
  return {
    data,
    talk: (line) => void io.stderr.write(`${line}\n`),
    document: (fields) => data(JSON.stringify({ version: 1, ...fields })),
    paint: (style, text) =>
      coloured(io.stderr) ? styleText(style, text, { validateStream: false }) : text,
    async table(head, rows) {
      const cells = rows.map((row) => row.map(cleanLine))
      if (io.stdout.isTTY === true) data(await drawn(head, cells))
      else for (const row of cells) data(row.join('\t'))
    },
  }
}

const border = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid']
    .flatMap((name) => [name, `${name}-mid`, `${name}-left`, `${name}-right`, `${name}-mid-mid`])
    .concat(['middle', 'left-mid', 'mid-mid', 'right-mid'])
    .map((name) => [name, '']),
)

async function drawn(head: readonly string[], rows: readonly string[][]): Promise<string> {
  const { default: Table } = await import('cli-table3')
  const table = new Table({
    head: head.map((name) => name.toUpperCase()),
    chars: { ...border, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  })
  table.push(...rows)
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}
