import { access, readFile } from 'node:fs/promises'
import type { KnownRepositoryView, LocalVerbs } from '../cli/local-port.ts'
import { KilnError } from '../domain/error.ts'
import { systemLookup } from '../source/address.ts'
import { createGit } from '../source/git.ts'
import {
  accessTo,
  checkAddress,
  knownAs,
  type KnownRepository,
} from '../source/known-repository.ts'
import { createMirror } from '../source/mirror.ts'
import { parseRepository } from '../source/repository.ts'
import { readSecretFile } from '../store/secret-file.ts'
import type { Config } from './config.ts'
import { gitEnvironment, isProxied, type Environment } from './git-environment.ts'
import { readRepositories, writeRepositories } from './repositories.ts'

type RepositoryVerbs = Pick<
  LocalVerbs,
  'repositories' | 'addRepository' | 'removeRepository' | 'checkRepository'
>

/** What people say of their repositories: references only, and only what is usable now. */
export function localRepositories(config: Config, environment: Environment): RepositoryVerbs {
  const { home } = config
  const rules = { allowedPaths: config.repositories, allowedHosts: config.gitHosts }
  return {
    async repositories() {
      return (await readRepositories(home)).map(viewOf)
    },
    async addRepository(wanted) {
      checkAddress(wanted.address, rules)
      const added = entryOf(wanted)
      const others = await readRepositories(home)
      const before = knownAs(others, wanted.address)
      await checkFiles(added)
      await writeRepositories(home, [...others.filter((one) => one !== before), added])
      return { repository: viewOf(added), replaced: before !== undefined }
    },
    async removeRepository(address) {
      const all = await readRepositories(home)
      const gone = all.find((one) => one.address === address)
      if (gone === undefined) {
        throw new KilnError('not_found', 'nothing is said of this repository', {
          place: JSON.stringify(address.slice(0, 200)),
          fix: 'kiln repository list',
        })
      }
      await writeRepositories(
        home,
        all.filter((one) => one !== gone),
      )
      return viewOf(gone)
    },
    async checkRepository(address) {
      const repository = parseRepository(address, rules)
      const mirror = createMirror({
        git: createGit({
          environment: gitEnvironment(environment),
          maxPackBytes: 1024 ** 2,
          timeoutMs: 60_000,
        }),
        folder: config.paths.source,
        resolve: systemLookup,
        access: async (one) => accessTo(await readRepositories(home), one),
        proxied: isProxied(environment),
        now: () => new Date(),
      })
      const heads = await mirror.heads(repository, AbortSignal.timeout(90_000))
      return { address, branches: heads.map(({ branch, commit }) => ({ branch, commit })) }
    },
  }
}

type Wanted = Parameters<LocalVerbs['addRepository']>[0]

function entryOf(wanted: Wanted): KnownRepository {
  const { address, ssh, token, forge, webhookSecretFile, status } = wanted
  return {
    address,
    ...(ssh === undefined ? {} : { ssh }),
    ...(token === undefined ? {} : { token: { user: 'x-access-token', ...token } }),
    ...(forge === undefined ? {} : { forge }),
    ...(webhookSecretFile === undefined ? {} : { webhook: { secretFile: webhookSecretFile } }),
    ...(status === undefined ? {} : { status }),
  }
}

/** Paths only: what stands in the files is never shown. */
function viewOf(one: KnownRepository): KnownRepositoryView {
  return {
    address: one.address,
    access: one.ssh === undefined ? (one.token === undefined ? 'none' : 'token') : 'ssh-key',
    files: [
      one.ssh?.keyFile,
      one.ssh?.knownHostsFile,
      one.token?.tokenFile,
      one.webhook?.secretFile,
      one.status?.tokenFile,
    ].filter((file) => file !== undefined),
    forge: one.forge ?? null,
    webhook: one.webhook !== undefined,
    status: one.status !== undefined,
  }
}

async function checkFiles({ ssh, token, webhook, status }: KnownRepository): Promise<void> {
  if (ssh !== undefined) await checkSsh(ssh)
  if (token !== undefined) await readSecretFile(token.tokenFile)
  if (status !== undefined) await readSecretFile(status.tokenFile)
  if (webhook === undefined) return
  if ((await readSecretFile(webhook.secretFile)).length >= 16) return
  throw new KilnError('invalid_input', 'a webhook secret must have at least 16 characters', {
    place: webhook.secretFile,
    fix: `openssl rand -hex 32 > ${webhook.secretFile}, and give the forge the same`,
  })
}

async function checkSsh({ keyFile, knownHostsFile }: { keyFile: string; knownHostsFile: string }) {
  try {
    await access(keyFile)
    if (/^[^#\s]/m.test(await readFile(knownHostsFile, 'utf8'))) return
  } catch (error) {
    throw new KilnError('prerequisite_missing', 'the key or its known_hosts cannot be read', {
      cause: error,
      place: `${keyFile}, ${knownHostsFile}`,
      fix: 'correct the paths',
    })
  }
  throw new KilnError('prerequisite_missing', 'the known_hosts file names no server', {
    place: knownHostsFile,
    fix: `ssh-keyscan <host> > ${knownHostsFile}, and compare with the fingerprints that the server's owner publishes`,
  })
}
