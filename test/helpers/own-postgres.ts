import { execa } from 'execa'
import { spawn, type ChildProcess } from 'node:child_process'
import { chown, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort } from './free-port.ts'

const password = 'index-password-of-the-tests'

export type OwnPostgres = {
  /** A database of its own on the server; the password is in the file. */
  database(): Promise<{ kind: 'postgres'; address: string; passwordFile: string }>
  sql(text: string): Promise<string>
  /** Ends it at once, as a power cut would. */
  kill(): Promise<void>
  start(): Promise<void>
  remove(): Promise<void>
}

/**
 * A real PostgreSQL server in a scratch folder, on loopback. Its databases collate as English does,
 * not by bytes, so that an order that depends on it would show.
 */
export async function ownPostgres(): Promise<OwnPostgres> {
  const programs = await programsOf()
  const folder = await mkdtemp(join(tmpdir(), 'kiln-postgres-'))
  const user = process.getuid?.() === 0 ? await userOf('postgres') : undefined
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
  const words = join(folder, 'initial')
  await writeFile(words, `${password}\n`, { mode: 0o644 })
  const data = join(folder, 'data')
  const port = await freePort()
  const env = { PATH: '/usr/bin:/bin', PGPASSWORD: password, LC_ALL: 'C.UTF-8' }
  const own = { env, extendEnv: false, cwd: folder, ...user }
  await execa(
    join(programs, 'initdb'),
    ['-D', data, '-U', 'kiln', '-A', 'scram-sha-256', '--pwfile', words, '--encoding=UTF8'].concat([
      '--locale-provider=icu',
      '--icu-locale=en-US',
    ]),
    own,
  )
  let child: ChildProcess | undefined
  let count = 0
  const sql = async (text: string): Promise<string> => {
    const line = `host=127.0.0.1 port=${port} user=kiln dbname=postgres`
    const { stdout } = await execa(join(programs, 'psql'), [line, '-XAtqc', text], own)
    return stdout
  }
  const start = async (): Promise<void> => {
    child = spawn(
      join(programs, 'postgres'),
      ['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-k', folder],
      { ...own, stdio: 'ignore' },
    )
    for (let n = 0; n < 300; n++) {
      if (child.exitCode !== null) throw new Error(`PostgreSQL ended with ${child.exitCode}`)
      if ((await sql('select 1').catch(() => '')) === '1') return
      await pause(100)
    }
    throw new Error('PostgreSQL does not answer')
  }
  const end = async (signal: 'SIGQUIT' | 'SIGINT'): Promise<void> => {
    if (child === undefined || child.exitCode !== null) return
    const ended = new Promise((resolve) => child?.once('exit', resolve))
    child.kill(signal)
    await ended
  }
  await start()
  return {
    async database() {
      const name = `kiln${(count += 1)}`
      await sql(`create database ${name}`)
      return {
        kind: 'postgres',
        address: `postgres://kiln@127.0.0.1:${port}/${name}`,
        passwordFile,
      }
    },
    sql,
    kill: () => end('SIGQUIT'),
    start,
    async remove() {
      await end('SIGINT')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function programsOf(): Promise<string> {
  const root = '/usr/lib/postgresql'
  const [newest] = (await readdir(root)).toSorted((a, b) => Number(b) - Number(a))
  if (newest === undefined) throw new Error('no PostgreSQL: sh scripts/setup.sh --for test')
  return join(root, newest, 'bin')
}

async function userOf(name: string): Promise<{ uid: number; gid: number }> {
  const line = (await readFile('/etc/passwd', 'utf8'))
    .split('\n')
    .find((one) => one.startsWith(`${name}:`))
  const [, , uid, gid] = line?.split(':') ?? []
  if (uid === undefined || gid === undefined) throw new Error(`there is no user ${name}`)
  return { uid: Number(uid), gid: Number(gid) }
}
