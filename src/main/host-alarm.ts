import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { errnoOf } from '../store/disk-error.ts'

const form = z.strictObject({
  version: z.literal(1),
  host: z.string(),
  since: z.string(),
  message: z.string(),
})

/** Why this machine's host starts nothing, as it left it; null while it does. A file that cannot be read is an alarm too. */
export function readHostAlarm(
  path: string,
): { host: string; since: string; message: string } | null {
  try {
    const { host, since, message } = form.parse(JSON.parse(readFileSync(path, 'utf8')))
    return { host, since, message }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null
    return { host: 'local', since: 'unknown', message: `${path} cannot be read` }
  }
}
