import type { Client } from '../../api/client.ts'
import type { DeniedSubject } from '../../domain/denial.ts'
import { KilnError } from '../../domain/error.ts'
import { parseEnvironmentName } from '../../domain/name.ts'
import { findDigest } from '../names.ts'
import { begin, withWork, type WorkOptions } from './changes.ts'
import type { Verb } from './verb.ts'

type Options = WorkOptions & { reason?: string }

/** Asks nothing: who types it is in a hurry, and what it does to an environment is what the key stored. */
export const revoke: Verb = (program, run) => {
  withWork(program.command('revoke <digest>'))
    .description(
      'deny an artifact for good; what serves it returns to its rollback target, or stops',
    )
    .option('--reason <text>', 'why; it stays in the log')
    .action(
      run<Options>(async (session, { args: [what = ''], options }) => {
        const reason = reasonFor(what, options)
        const kiln = await session.cli.connect()
        const subject = await subjectOf(kiln, what)
        return begin(session, options, {
          kiln,
          start: (call) => kiln.revoke({ body: { subject, reason } }, call),
        })
      }),
    )
}

const keyForm = /^(?<environment>[a-z0-9-]+\/[a-z0-9-]+)@(?<sequence>[1-9][0-9]{0,8})$/
const templateForm = /^(?<name>[a-z][a-z0-9-]*)@(?<lock>(sha256:)?[0-9a-f]{6,64})$/

/** `hello/prod@42`, `debian-base@1a2b3c` (how its lock begins), else an artifact's digest. */
async function subjectOf(kiln: Client, what: string): Promise<DeniedSubject> {
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
