import { open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  certificatesDigest,
  isLoadable,
  judgeCertificate,
  refused,
  type Judged,
  type RefusedCertificate,
} from './certificate.ts'

/** What the operator put into the folder under one host's name: certificate and key as one text. */
export type Offered = { name: string; pem: string }

/** Every host that the folder has files for, with what they hold or why they cannot be read. */
export async function readOffered(folder: string): Promise<(Offered | RefusedCertificate)[]> {
  const files = new Set(await readdir(folder))
  const names = [...files].flatMap((file) => /^(.+)\.(?:pem|crt)$/.exec(file)?.[1] ?? [])
  return Promise.all(
    [...new Set(names)]
      .filter((name) => !name.startsWith('.'))
      .toSorted()
      .map((name) => readOne(folder, name, files)),
  )
}

/** What was read is judged; what could not be read is refused already. */
export function judgeOffered(one: Offered | RefusedCertificate, now: Date): Judged {
  return 'pem' in one ? judgeCertificate(one.name, one.pem, now) : one
}

async function readOne(
  folder: string,
  name: string,
  files: ReadonlySet<string>,
): Promise<Offered | RefusedCertificate> {
  const one = files.has(`${name}.pem`)
  if (one && files.has(`${name}.crt`)) {
    return refused(name, 'two-files', `${name}: both ${name}.pem and ${name}.crt are there`)
  }
  const wanted = one ? [`${name}.pem`] : [`${name}.crt`, `${name}.key`]
  const keyFile = join(folder, wanted.at(-1) ?? '')
  try {
    const mode = (await stat(keyFile)).mode
    if ((mode & 0o004) !== 0) {
      return refused(name, 'open-to-all', `${name}: everybody on this machine can read the key`)
    }
    const parts = await Promise.all(wanted.map((file) => readFile(join(folder, file), 'utf8')))
    return { name, pem: parts.join('\n') }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    if (code === 'ENOENT') return refused(name, 'no-key', `${name}: ${wanted.at(-1)} is not there`)
    return refused(name, 'unreadable', `${name}: a file cannot be read (${code})`)
  }
}

/** The accepted certificates, as HAProxy loads them: `<name>.pem` and what its certificates hash to. */
export async function acceptedIn(folder: string): Promise<ReadonlyMap<string, string>> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.pem')).toSorted()
  return new Map(
    await Promise.all(
      files.map(async (file) => {
        const pem = await readFile(join(folder, file), 'utf8')
        return [file.slice(0, -'.pem'.length), certificatesDigest(pem)] as const
      }),
    ),
  )
}

export function readAccepted(folder: string, name: string): Promise<string | null> {
  return readFile(join(folder, `${name}.pem`), 'utf8').catch(() => null)
}

/** Whole or not at all, and durable; null takes it away. HAProxy never sees the temporary file. */
export async function putAccepted(folder: string, name: string, pem: string | null): Promise<void> {
  const path = join(folder, `${name}.pem`)
  if (pem === null) return rm(path, { force: true })
  const temporary = join(dirname(folder), `.certificate-${name}.tmp`)
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(pem)
    await file.sync()
  } finally {
    await file.close()
  }
  return rename(temporary, path)
}

/** Before HAProxy starts: what it could not load is left out, since it would not start at all. */
export async function dropBroken(folder: string): Promise<void> {
  for (const file of await readdir(folder)) {
    const pem = await readFile(join(folder, file), 'utf8')
    if (!file.endsWith('.pem') || !isLoadable(pem)) await rm(join(folder, file), { force: true })
  }
}
