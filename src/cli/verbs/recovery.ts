import { KilnError } from '../../domain/error.ts'
import { Declined } from '../ask.ts'
import { isInteractive } from '../context.ts'
import type { BackupReport, Passphrase, RestoreReport } from '../local-port.ts'
import { detachedExit } from '../outcome.ts'
import type { Session } from '../session.ts'
import type { Verb } from './verb.ts'

type Options = { passphraseFile?: string; passphraseEnv?: string; withoutKeys?: boolean }

/** Copy what Kiln needs to serve again, and serve again from the copy. docs/recovery.md is the page for it. */
export const recovery: Verb = (program, run) => {
  program
    .command('backup <folder>')
    .description('copy all that is needed to serve again into a folder, while Kiln runs or not')
    .option(
      '--passphrase-file <file>',
      'encrypts the signing keys with the passphrase in this file',
    )
    .option('--passphrase-env <name>', 'the same, from this environment variable')
    .option('--without-keys', 'leaves the signing keys out: without them the log cannot go on')
    .action(
      run<Options>(async (session, { args: [folder = ''], options }) => {
        const passphrase = await passphraseOf(session, options, { twice: true })
        const local = await session.cli.local()
        const report = await local.backup(folder, passphrase, session.output.talk)
        await session.print(report, () => showBackup(session, report))
      }),
    )
  program
    .command('restore <folder>')
    .description('make an empty home from a backup; kiln up then serves again')
    .option('--passphrase-file <file>', 'opens the signing keys with the passphrase in this file')
    .option('--passphrase-env <name>', 'the same, from this environment variable')
    .option('--without-keys', 'restores without the signing keys: to read and verify, not to go on')
    .action(
      run<Options>(async (session, { args: [folder = ''], options }) => {
        const passphrase = await passphraseOf(session, options, { twice: false })
        const local = await session.cli.local()
        const report = await local.restore(folder, passphrase, session.output.talk)
        await session.print(report, () => showRestore(session, report))
      }),
    )
}

async function passphraseOf(
  session: Session,
  options: Options,
  { twice }: { twice: boolean },
): Promise<Passphrase> {
  const { passphraseFile: path, passphraseEnv: name, withoutKeys } = options
  const given: Passphrase[] = [
    ...(path === undefined ? [] : [{ kind: 'file', path } as const]),
    ...(name === undefined ? [] : [{ kind: 'variable', name } as const]),
    ...(withoutKeys === true ? [{ kind: 'none' } as const] : []),
  ]
  const [one, ...others] = given
  if (others.length > 0) throw unclear('more than one way to treat the signing keys is named')
  if (one !== undefined) return one
  if (isInteractive(session.cli.io)) return ask(session, twice)
  throw unclear('the signing keys need a passphrase')
}

function unclear(message: string): KilnError {
  return new KilnError('invalid_input', message, {
    place: 'passphrase',
    fix: 'give one of --passphrase-file FILE, --passphrase-env NAME, --without-keys',
  })
}

async function ask({ cli }: Session, twice: boolean): Promise<Passphrase> {
  const { password, isCancel } = await import('@clack/prompts')
  const { stdin: input, stderr: output } = cli.io
  const once = async (message: string): Promise<string> => {
    const answer = await password({ message, input, output })
    if (isCancel(answer)) throw new Declined(detachedExit)
    return answer
  }
  const text = await once('Passphrase of the signing keys')
  if (twice && (await once('The same again')) !== text) {
    throw new KilnError('invalid_input', 'the two passphrases differ')
  }
  return { kind: 'text', text }
}

function showBackup({ output }: Session, report: BackupReport): void {
  const { folder, entries, objects, bytes, copied, copiedBytes, keys } = report
  output.data([folder, entries, objects, bytes, keys].join('\t'))
  output.talk(
    `${entries} entries, ${objects} objects, ${megabytes(bytes)}; ${copied} objects, ${megabytes(copiedBytes)} were new`,
  )
  output.talk('every file was read again, and the log derived anew from the copy')
  if (keys === 'left out') {
    output.talk('WITHOUT THE SIGNING KEYS: what this backup restores can be read and verified, and')
    output.talk('can serve nothing new. Keep the folder keys/ somewhere else, encrypted.')
  }
  output.talk(
    'not in it: the API token and the registry passwords (made anew), the files that hold',
  )
  output.talk('secrets, work in flight, logs, and whatever your instances wrote')
}

function showRestore({ output }: Session, report: RestoreReport): void {
  const { home, store, entries, madeAt, keys, lost, environments } = report
  for (const { environment, digest, instances } of environments) {
    output.data([environment, digest, instances].join('\t'))
  }
  output.talk(`${home}: ${entries} entries from the backup of ${madeAt}, objects in ${store}`)
  if (keys === 'left out') {
    output.talk('without the signing keys: put the folder keys/ into the home before kiln up')
  }
  if (lost !== null) {
    output.talk(
      lost.entries === null
        ? 'ANOTHER LOG was seen here before than the one that was restored.'
        : `${lost.entries} ENTRIES ARE LOST: they were seen here before and are not in the backup.`,
    )
    output.talk(`If no newer store is left: rm ${lost.memory}, and tell who else saw them.`)
  }
  output.talk('  serve again: kiln up')
  output.talk('  the API token is a new one: who uses another machine needs it')
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
