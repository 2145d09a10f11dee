import { resolve } from 'node:path'
import { Option } from 'commander'
import { KilnError } from '../../domain/error.ts'
import type { KnownRepositoryView, WantedRepository } from '../local-port.ts'
import type { Session } from '../session.ts'
import type { Verb } from './verb.ts'

type AddOptions = {
  sshKeyFile?: string
  knownHostsFile?: string
  tokenFile?: string
  tokenUser?: string
  forge?: 'github' | 'gitlab' | 'gitea'
  webhookSecretFile?: string
  statusTokenFile?: string
  api?: string
}

/** How private repositories are asked, and what their forges send and are told: files by reference. */
export const repository: Verb = (program, run) => {
  const family = program
    .command('repository')
    .description('how a repository is asked: its key or token, webhook secret and status token')
  family
    .command('add <address>')
    .description('say it anew; secrets are named by their files and never copied')
    .option('--ssh-key-file <file>', 'the private key, for an ssh address')
    .option('--known-hosts-file <file>', "the server's host keys; no other is believed")
    .option('--token-file <file>', 'the token, for an https address')
    .option('--token-user <name>', 'the user that the token belongs to (x-access-token)')
    .addOption(new Option('--forge <name>', 'what hosts it').choices(['github', 'gitlab', 'gitea']))
    .option('--webhook-secret-file <file>', 'the secret that its webhooks are signed with')
    .option('--status-token-file <file>', 'the token that writes commit statuses')
    .option('--api <address>', "the forge's API, where it is not at its usual place")
    .action(
      run<AddOptions>(async (session, { args: [address = ''], options }) => {
        const local = await session.cli.local()
        const answer = await local.addRepository(
          wantedOf(address, options, (path) => resolve(session.cli.folder, path)),
        )
        await session.print(answer, () => list(session, [answer.repository]))
        session.output.talk(`try it: kiln repository check ${address}`)
      }),
    )
  family
    .command('list')
    .description('what is said of repositories; files by their paths, never what is in them')
    .action(
      run(async (session) => {
        const items = await (await session.cli.local()).repositories()
        await session.print({ items }, () => list(session, items))
      }),
    )
  family
    .command('remove <address>')
    .description('say nothing of it any more; the files stay')
    .action(
      run(async (session, { args: [address = ''] }) => {
        const gone = await (await session.cli.local()).removeRepository(address)
        await session.print({ repository: gone }, () => session.output.data(gone.address))
      }),
    )
  family
    .command('check <address>')
    .description('ask it for its branches, as a build would')
    .action(
      run(async (session, { args: [address = ''] }) => {
        const answer = await (await session.cli.local()).checkRepository(address)
        await session.print(answer, () =>
          session.output.table(
            ['branch', 'commit'],
            answer.branches.map(({ branch, commit }) => [branch, commit]),
          ),
        )
      }),
    )
}

function wantedOf(
  address: string,
  options: AddOptions,
  absolute: (path: string) => string,
): WantedRepository {
  const { sshKeyFile, knownHostsFile, tokenFile, tokenUser, forge, api } = options
  const { webhookSecretFile, statusTokenFile } = options
  if ((sshKeyFile === undefined) !== (knownHostsFile === undefined)) {
    throw new KilnError('invalid_input', 'a key comes with the host keys it may be shown to', {
      fix: 'give --ssh-key-file and --known-hosts-file together',
    })
  }
  return {
    address,
    ...(sshKeyFile === undefined || knownHostsFile === undefined
      ? {}
      : { ssh: { keyFile: absolute(sshKeyFile), knownHostsFile: absolute(knownHostsFile) } }),
    ...(tokenFile === undefined
      ? {}
      : { token: { tokenFile: absolute(tokenFile), ...only('user', tokenUser) } }),
    ...only('forge', forge),
    ...only(
      'webhookSecretFile',
      webhookSecretFile === undefined ? undefined : absolute(webhookSecretFile),
    ),
    ...(statusTokenFile === undefined
      ? {}
      : { status: { tokenFile: absolute(statusTokenFile), ...only('api', api) } }),
  }
}

function only<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [P in K]?: V })
}

function list(session: Session, items: readonly KnownRepositoryView[]): Promise<void> {
  return session.output.table(
    ['repository', 'asked with', 'forge', 'webhook', 'status', 'files'],
    items.map((one) => [
      one.address,
      one.access,
      one.forge ?? '-',
      one.webhook ? 'taken' : '-',
      one.status ? 'written' : '-',
      one.files.join(' '),
    ]),
  )
}
