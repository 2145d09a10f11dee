import type { Client } from '../../api/client.ts'
import type { DeniedSubject } from '../../domain/denial.ts'
import { isDigest } from '../../domain/digest.ts'
import { KilnError } from '../../domain/error.ts'
import { parseEnvironmentName } from '../../domain/name.ts'
import { findDigest } from '../names.ts'
import { begin, withWork, type WorkOptions } from './changes.ts'
import type { Verb } from './verb.ts'

type Options = WorkOptions & { reason?: string; from?: string }

/** Asks nothing: who types it is in a hurry, and what it does to an environment is what the key stored. */
export const revoke: Verb = (program, run) => {
  withWork(program.command('revoke <digest>'))
    .description(
      'deny an artifact for good; what serves it returns to its rollback target, or stops',
    )
    .option('--reason <text>', 'why; it stays in the log')
    .option('--from <index>', 'of a signing key: the log index from which on it is not believed')
    .action(
      run<Options>(async (session, { args: [what = ''], options }) => {
        const reason = reasonFor(what, options)
        const kiln = await session.cli.connect()
        const subject = await subjectOf(kiln, what, indexIn(options))
        return begin(session, options, {
          kiln,
          start: (call) => kiln.revoke({ body: { subject, reason } }, call),
        })
      }),
    )
}

const keyForm = /^(?<environment>[a-z0-9-]+\/[a-z0-9-]+)@(?<sequence>[1-9][0-9]{0,8})$/
const templateForm = /^(?<name>[a-z][a-z0-9-]*)@(?<lock>(sha256:)?[0-9a-f]{6,64})$/

/**
 * `hello/prod@42`, `debian-base@1a2b3c` (how its lock begins), a signing key's fingerprint in full, else an
 * artifact's digest.
 */
async function subjectOf(kiln: Client, what: string, from: number | null): Promise<DeniedSubject> {
  if (isDigest(what)) {
    const { items } = await kiln.signingKeys({})
    if (items.some(({ fingerprint }) => fingerprint === what))
      return { kind: 'signing-key', fingerprint: what, from }
  }
  if (from === null) return otherSubjectOf(kiln, what)
  throw new KilnError('invalid_input', `${what} is no signing key: --from is for those alone`, {
    place: '--from',
    fix: 'kiln signing list shows their fingerprints; write one in full',
  })
}

async function otherSubjectOf(kiln: Client, what: string): Promise<DeniedSubject> {
  const key = keyForm.exec(what)?.groups
  if (key !== undefined) {
    const { name: environment } = parseEnvironmentName(key['environment'] ?? '')
    return { kind: 'key', environment, sequence: Number(key['sequence']) }
  }
  const template = templateForm.exec(what)?.groups
  if (template !== undefined) {
    const { name = '', lock = '' } = template
    return { kind: 'template', name, lock }
  }
  return { kind: 'artifact', digest: await findDigest(kiln, what) }
}

function indexIn({ from }: Options): number | null {
  if (from === undefined) return null
  if (/^(0|[1-9][0-9]{0,14})$/.test(from)) return Number(from)
  throw new KilnError('invalid_input', `not a log index: ${JSON.stringify(from.slice(0, 40))}`, {
    place: '--from',
    fix: 'kiln signing list shows from which index to which each key signed',
  })
}

function reasonFor(what: string, { reason }: Options): string {
  if (reason !== undefined && reason !== '') return reason
  throw new KilnError(
    'invalid_input',
    'a denial needs a reason: it is for good, and stays in the log',
    {
      place: '--reason',
      fix: `kiln revoke ${what} --reason "<why>"`,
    },
  )
}
