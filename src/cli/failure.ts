import { KilnError } from '../domain/error.ts'
import type { Failure } from '../domain/operation.ts'
import type { Output } from './output.ts'
import { clean, cleanLine } from './text.ts'

/** How many of a failing step's last lines are shown again at the end. */
const lastLines = 20

type Told = Failure & { requestId?: string }

export function failureOf(error: unknown): Told {
  if (!(error instanceof KilnError)) {
    const message = error instanceof Error ? error.message : String(error)
    return { code: 'internal', message, place: null, fix: null, lines: [] }
  }
  const { code, message, place = null, fix = null, lines } = error
  const told = { code, message, place, fix, lines: [...lines] }
  return 'requestId' in error ? { ...told, requestId: String(error.requestId) } : told
}

/** The last lines first, then what went wrong, where, and what to do: what matters stands at the end. */
export function showFailure(output: Output, failure: Told, next: string | null): void {
  const { code, message, place, lines, requestId } = failure
  for (const line of lines.slice(-lastLines)) output.talk(`  | ${clean(line)}`)
  const where = place === null ? '' : `${cleanLine(place)}: `
  output.talk(`${output.paint('red', `kiln: ${code}`)}: ${where}${cleanLine(message)}`)
  if (next !== null) output.talk(`  next: ${cleanLine(next)}`)
  output.talk(
    `  more: docs/errors.md#${code}${requestId === undefined ? '' : ` (request ${requestId})`}`,
  )
}
