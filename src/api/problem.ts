import type { FastifyError } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { errors, KilnError } from '../domain/error.ts'
import type { problem } from './views.ts'

export type Problem = z.output<typeof problem>

/** Where each code is explained; relative to the repository and to the documentation's root. */
export function helpOf(code: KilnError['code']): string {
  return `docs/errors.md#${code}`
}

/**
 * What a caller is told about an error. Only Kiln's own errors keep their words: of any other, the
 * caller gets the request's id and the log has the rest, so no stack and no path of ours gets out.
 */
export function problemOf(error: unknown, requestId: string): Problem {
  const { code, message, place, fix, lines } = known(error)
  return {
    type: helpOf(code),
    status: statusOf(error, code),
    code,
    message,
    place: place ?? null,
    fix: fix ?? null,
    lines: [...lines],
    requestId,
  }
}

function known(error: unknown): KilnError {
  if (error instanceof KilnError) return error
  if (hasZodFastifySchemaValidationErrors(error)) return invalid(error)
  if (isRefusedByServer(error)) return new KilnError('invalid_input', error.message)
  return new KilnError('internal', 'something went wrong inside Kiln', {
    fix: "look for the request's id in the server's log",
  })
}

type Invalid = FastifyError & { validation: { instancePath: string; message?: string }[] }

/** Every field that is wrong, in one message. */
function invalid(error: Omit<FastifyError, 'validation'> & { validation: unknown[] }): KilnError {
  const { validation, validationContext = 'request' } = error as unknown as Invalid
  const fields = validation.map(
    ({ instancePath, message = 'is not valid' }) =>
      `${validationContext}${instancePath.replaceAll('/', '.')}: ${message}`,
  )
  const place = fields[0]?.split(':', 1)[0]
  return new KilnError('invalid_input', fields.join('; '), place === undefined ? {} : { place })
}

/** The web server's own refusals: a body too large, not JSON, no event stream wanted, and the like. */
function isRefusedByServer(error: unknown): error is FastifyError & { statusCode: number } {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('FST_') &&
    'statusCode' in error &&
    typeof error.statusCode === 'number' &&
    error.statusCode >= 400 &&
    error.statusCode < 500
  )
}

function statusOf(error: unknown, code: KilnError['code']): number {
  return isRefusedByServer(error) ? error.statusCode : errors[code].http
}
