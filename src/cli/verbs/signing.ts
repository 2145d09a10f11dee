import type { AnswerOf } from '../../api/contract.ts'
import { KilnError } from '../../domain/error.ts'
import { roles, type Role } from '../../domain/role.ts'
import type { Session } from '../session.ts'
import type { Verb } from './verb.ts'

type Key = AnswerOf<'signingKeys'>['items'][number]

/** The signing keys: who may sign what, from where to where in the log. */
export const signing: Verb = (program, run) => {
  const family = program.command('signing').description('signing keys and their ranges in the log')
  family
    .command('list')
    .description('every signing key with its role and its range of log indexes')
    .action(
      run(async (session) => {
        const kiln = await session.cli.connect()
        const answer = await kiln.signingKeys({})
        await session.print(answer, () => list(session, answer.items))
      }),
    )
  family
    .command('rotate <role>')
    .description(
      'give a role a new key; what the old one signed stays valid, it signs nothing more',
    )
    .option('--kms <arn>', "the key in AWS's KMS that shall sign from now on")
    .action(
      run<{ kms?: string }>(async (session, { args: [name = ''], options }) => {
        const role = roleOf(name)
        const kiln = await session.cli.connect()
        const { items } = await kiln.signingKeys({})
        const old = items.findLast((key) => key.role === role)
        if (old === undefined) throw new KilnError('not_found', `the ${role} role has no key`)
        const body = { replaces: old.fingerprint, kms: options.kms ?? null }
        const answer = await kiln.rotateSigningKey({ params: { role }, body })
        await session.print(answer, () => list(session, answer.items))
        session.output.talk(advice[role] ?? 'what the old key signed stays valid')
      }),
    )
  family
    .command('encrypt')
    .description('encrypt the key files under the passphrase in KILN_SIGNING_PASSPHRASE_FILE')
    .action(
      run(async (session) => {
        const report = await (await session.cli.local()).encryptKeys()
        await session.print(report, () => {
          for (const name of report.encrypted) session.output.data(name)
        })
        session.output.talk(
          report.encrypted.length === 0
            ? 'all are encrypted already'
            : 'keep the passphrase elsewhere too',
        )
      }),
    )
}

/** What is left to do outside of Kiln. */
const advice: Partial<Record<Role, string>> = {
  promote: 'who pins promote.pub needs the new one: trust/promote.pub (docs/signing-keys.md)',
  root: 'who pins the root may go on pinning the old one; if it leaked, pin the new one with --root',
}

function roleOf(name: string): Role {
  const role = roles.find((one) => one === name)
  if (role !== undefined) return role
  const fix = `one of ${roles.join(', ')}`
  const log =
    name === 'log'
      ? "the log's own key is what makes it this log: it is not rotated, a new log has a new one"
      : `not a role: ${JSON.stringify(name.slice(0, 40))}`
  throw new KilnError('invalid_input', log, { place: 'role', fix })
}

function list(session: Session, keys: readonly Key[]): Promise<void> {
  return session.output.table(
    ['role', 'key', 'from', 'to', 'place'],
    keys.map(({ role, fingerprint, from, to, place }) => [
      role,
      fingerprint,
      String(from),
      to === null ? '-' : String(to),
      placeText(place),
    ]),
  )
}

function placeText(place: Key['place']): string {
  if (place === null) return '-'
  return place.kind === 'kms' ? place.arn : place.kind
}
