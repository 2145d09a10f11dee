import { constants, type Stats } from 'node:fs'
import { lstat, open } from 'node:fs/promises'
import { join } from 'node:path'
import { KilnError } from '../domain/error.ts'
import { parseSecretReference, type SecretReference } from '../domain/secret.ts'
import { errnoOf } from '../store/disk-error.ts'

/** One kind of place where a host keeps secrets. */
export interface SecretSource {
  /** The value, 1 byte to 64 KiB. Throws `secret_unavailable`, which never holds the value. */
  read(name: string): Promise<Uint8Array>
}

export type SecretSources = Readonly<Record<SecretReference['from'], SecretSource>>

export const largestSecret = 64 * 1024

/** One reference, and whether this host has what it names. */
export type SecretState = {
  name: string
  reference: string
  resolves: boolean
  /** Why it does not, and what to do; null when it does. */
  problem: string | null
  fix: string | null
}

type Fault = { message: string; fix: string }

/**
 * Files of one folder, byte for byte. The folder is this user's alone (0700), each file too (0600 or
 * less), and none is a link: what stands elsewhere is not a secret of Kiln's.
 */
export function fileSecrets(folder: string): SecretSource {
  return {
    async read(name) {
      const path = join(folder, name)
      assertPrivate(await lstat(folder).catch((cause: unknown) => absent(folder, cause)), {
        path: folder,
        mode: '0700',
        kind: 'folder',
      })
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
      const file = await open(path, flags).catch((cause: unknown) => absent(path, cause))
      try {
        assertPrivate(await file.stat(), { path, mode: '0600', kind: 'file' })
        const { buffer, bytesRead } = await file.read(Buffer.alloc(largestSecret + 1))
        return sized(buffer.subarray(0, bytesRead), path)
      } finally {
        await file.close()
      }
    },
  }
}

function absent(path: string, cause: unknown): never {
  const code = errnoOf(cause)
  if (code === 'ENOENT') {
    throw unavailable({
      message: `${path} is not there`,
      fix: `write it on the host: (umask 077; mkdir -p folder; cat > ${path})`,
    })
  }
  const why = code === 'ELOOP' ? 'is a link' : `cannot be read (${code ?? 'unknown'})`
  throw unavailable({ message: `${path} ${why}`, fix: 'put a file of its own there' })
}

type Wanted = { path: string; mode: string; kind: 'folder' | 'file' }

function assertPrivate(found: Stats, { path, mode, kind }: Wanted): void {
  if (kind === 'folder' ? !found.isDirectory() : !found.isFile()) {
    throw unavailable({ message: `${path} is no ${kind}`, fix: `put a ${kind} there` })
  }
  const uid = process.getuid?.() ?? 0
  if (found.uid !== uid && found.uid !== 0) {
    throw unavailable({
      message: `${path} belongs to user ${found.uid}, not to this one`,
      fix: `chown ${uid} ${path}`,
    })
  }
  if ((found.mode & 0o077) !== 0) {
    const has = (found.mode & 0o777).toString(8).padStart(4, '0')
    throw unavailable({
      message: `${path} has mode ${has}: others may use it`,
      fix: `chmod ${mode} ${path}, and change the secret if somebody may have read it`,
    })
  }
}

/** Variables `KILN_SECRET_<name>`, which the host's worker alone is given. */
export function environmentSecrets(
  environment: Readonly<Record<string, string | undefined>>,
): SecretSource {
  return {
    async read(name) {
      const variable = `KILN_SECRET_${name}`
      const value = environment[variable] ?? ''
      if (value !== '') return sized(Buffer.from(value), variable)
      throw unavailable({
        message: `the host's worker has no ${variable}`,
        fix: `set ${variable} where Kiln is started, then kiln down and kiln up`,
      })
    },
  }
}

function sized(bytes: Buffer, place: string): Buffer {
  if (bytes.length > 0 && bytes.length <= largestSecret) return bytes
  const message = bytes.length === 0 ? `${place} is empty` : `${place} is larger than 64 KiB`
  throw unavailable({ message, fix: 'write the secret into it' })
}

function unavailable({ message, fix }: Fault): KilnError {
  return new KilnError('secret_unavailable', message, { fix })
}

/** Reads all, or throws one `secret_unavailable` that names every reference this host cannot resolve. */
export async function resolveSecrets(
  sources: SecretSources,
  secrets: Readonly<Record<string, string>>,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const values = new Map<string, Uint8Array>()
  const missing: SecretState[] = []
  for (const [name, reference] of Object.entries(secrets)) {
    const read = await readOne(sources, { name, reference })
    if (read instanceof Uint8Array) values.set(name, read)
    else missing.push(read)
  }
  const [first] = missing
  if (first === undefined) return values
  const more = missing.length > 1 ? ` (and ${missing.length - 1} more)` : ''
  throw new KilnError('secret_unavailable', `${first.name}: ${first.problem}${more}`, {
    place: first.reference,
    ...(first.fix === null ? {} : { fix: first.fix }),
    lines: missing.map(({ name, reference, problem }) => `${name} (${reference}): ${problem}`),
  })
}

export type SecretActivities = ReturnType<typeof secretActivities>

/** What a host says of its secrets. */
export function secretActivities({ sources }: { sources: SecretSources }) {
  return {
    /** Whether this host has what each reference names. */
    async checkSecrets({ secrets }: { secrets: Readonly<Record<string, string>> }): Promise<{
      secrets: SecretState[]
    }> {
      return { secrets: await secretStates(sources, secrets) }
    },
  }
}

/** No value leaves this function. */
async function secretStates(
  sources: SecretSources,
  secrets: Readonly<Record<string, string>>,
): Promise<SecretState[]> {
  const states: SecretState[] = []
  for (const [name, reference] of Object.entries(secrets)) {
    const read = await readOne(sources, { name, reference })
    states.push(
      read instanceof Uint8Array
        ? { name, reference, resolves: true, problem: null, fix: null }
        : read,
    )
  }
  return states
}

async function readOne(
  sources: SecretSources,
  { name, reference }: { name: string; reference: string },
): Promise<Uint8Array | SecretState> {
  const parsed = parseSecretReference(reference)
  const state = { name, reference, resolves: false, fix: null }
  if (parsed === undefined) return { ...state, problem: 'it is no reference' }
  try {
    return await sources[parsed.from].read(parsed.name)
  } catch (error) {
    if (!(error instanceof KilnError) || error.code !== 'secret_unavailable') throw error
    return { ...state, problem: error.message, fix: error.fix ?? null }
  }
}
