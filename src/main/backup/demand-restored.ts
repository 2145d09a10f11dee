import { existsSync } from 'node:fs'
import { KilnError } from '../../domain/error.ts'
import type { Paths } from '../paths.ts'

/** Throws `prerequisite_missing` in a home that a restore has begun and not ended: a part of it is missing. */
export function demandRestored({ home, restoring }: Paths): void {
  if (!existsSync(restoring)) return
  throw new KilnError('prerequisite_missing', `a restore into ${home} has not ended`, {
    place: restoring,
    fix: 'kiln restore <the same backup> goes on where it was interrupted',
  })
}
