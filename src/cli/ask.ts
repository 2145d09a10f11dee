import { shortDigest, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { AnswerOf } from '../api/contract.ts'
import { isInteractive } from './context.ts'
import type { Environment } from './names.ts'
import { detachedExit } from './outcome.ts'
import type { Session } from './session.ts'
import { ago, cleanLine } from './text.ts'

export type Target = AnswerOf<'rollbackTargets'>['items'][number]

/** Thrown when the person left a question with Ctrl-C or said no: nothing was started. */
export class Declined extends Error {
  override readonly name = 'Declined'
  readonly exit: number

  constructor(exit: number) {
    super('nothing was started')
    this.exit = exit
  }
}

/** What stays as it is after any change of artifact. */
const notUndone = 'Not undone by this: data that was written, and anything outside Kiln.'

export type Change = {
  verb: 'promote' | 'rollback'
  environment: Environment
  to: { digest: Digest; commit: string; subject: string }
}

/**
 * On a terminal, and where the environment is the last of its pipeline: shows exactly what changes and
 * asks. Everywhere else nothing is asked.
 */
export async function confirmChange(session: Session, change: Change, yes: boolean): Promise<void> {
  const { environment } = change
  if (yes || !environment.last || !isInteractive(session.cli.io)) return
  for (const line of difference(change)) session.output.talk(line)
  const { confirm, isCancel } = await import('@clack/prompts')
  const { stdin: input, stderr: output } = session.cli.io
  const answer = await confirm({ message: `${change.verb} ${environment.name}?`, input, output })
  if (isCancel(answer)) throw new Declined(detachedExit)
  if (!answer) throw new Declined(1)
}

function difference({ environment, to }: Change): string[] {
  const { active, hold } = environment
  const from =
    active === null
      ? 'nothing'
      : `${shortDigest(active.digest)}  ${active.commit.slice(0, 12)}  ${active.subject}`
  return [
    environment.name,
    `  from  ${from}`,
    `  to    ${shortDigest(to.digest)}  ${to.commit.slice(0, 12)}  ${to.subject}`,
    ...(hold === null ? [] : [`  held by ${hold.by}: ${hold.reason}`]),
    `  ${notUndone}`,
  ].map(cleanLine)
}

/** Lists where the environment can go back to; the newest is preselected, so Enter is enough. */
export async function pickTarget(
  session: Session,
  environment: Environment,
  targets: readonly Target[],
): Promise<Target> {
  const [first] = targets
  if (first === undefined) throw nothingToReturnTo(environment)
  const { select, isCancel } = await import('@clack/prompts')
  const { stdin: input, stderr: output } = session.cli.io
  const { active } = environment
  if (active !== null) {
    const now = `${environment.name} serves ${shortDigest(active.digest)}  ${active.subject}`
    session.output.talk(cleanLine(now))
  }
  const answer = await select({
    message: `Roll back to? ${notUndone}`,
    options: targets.slice(0, 10).map((target) => ({
      value: target.digest,
      label: labelOf(target, session.cli.now()),
    })),
    initialValue: first.digest,
    input,
    output,
  })
  if (isCancel(answer)) throw new Declined(detachedExit)
  return targets.find(({ digest }) => digest === answer) ?? first
}

function labelOf({ digest, activatedAt, commit, subject, requestedBy }: Target, now: Date): string {
  const when = ago(activatedAt, now)
  return cleanLine(
    `${shortDigest(digest)}  ${when}  ${commit.slice(0, 12)}  ${subject.slice(0, 50)}  by ${requestedBy}`,
  )
}

export function nothingToReturnTo({ name }: Environment): KilnError {
  return new KilnError('refused', `${name} has no earlier good artifact to return to`, {
    fix: `kiln history ${name} lists what was active`,
  })
}
