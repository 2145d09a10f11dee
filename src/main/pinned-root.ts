import { readFile } from 'node:fs/promises'
import { fingerprintOf, type TrustRoot } from '../../signing/trust.ts'
import { KilnError } from '../domain/error.ts'
import { errnoOf } from '../store/disk-error.ts'
import { replaceFile } from '../store/replace-file.ts'
import type { Paths } from './paths.ts'

const form = /^sha256:[0-9a-f]{64}$/

/**
 * The fingerprint of the root that this home believes: what a person named (`--root`, KILN_ROOT), else the
 * one of its first use, which is kept apart from the files that the signer writes.
 */
export async function pinnedRoot(
  { pinnedRoot: path }: Paths,
  trust: TrustRoot,
  named?: string,
): Promise<string> {
  if (named !== undefined) return named
  const kept = await readFile(path, 'utf8').catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (kept === undefined) return pinFirst(path, trust)
  const pin = kept.trim()
  if (form.test(pin)) return pin
  throw new KilnError('invalid_input', `${path} holds no fingerprint`, {
    place: path,
    fix: 'write the fingerprint of the root into it, sha256:<64 hex>; kiln signing list shows it',
  })
}

async function pinFirst(path: string, { roles }: TrustRoot): Promise<string> {
  const first = roles.find(({ role }) => role === 'root')
  if (first === undefined) throw new KilnError('verification_failed', 'the trust root has no root')
  const pin = fingerprintOf(first)
  await replaceFile(path, `${pin}\n`)
  return pin
}
