import { spawn } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'

export type OwnSshd = {
  port: number
  user: string
  /** A key that is let in, and one that is not. */
  key: string
  strangerKey: string
  /** A known_hosts file with this server's key, and one with another's under the same name. */
  knownHosts: string
  otherHosts: string
  /** What sshd wrote: who came, and how it ended. */
  log: () => string
  close: () => Promise<void>
}

/** A real sshd on loopback with its own host key, for the user of the test and one key. */
export async function ownSshd(folder: string): Promise<OwnSshd> {
  await mkdir(folder, { recursive: true })
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
  const at = (name: string) => join(folder, name)
  for (const name of ['host', 'other-host', 'key', 'stranger'])
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', at(name)])
  const port = await freePort()
  const publicKey = async (name: string) => (await readFile(at(`${name}.pub`), 'utf8')).trim()
  await writeFile(at('authorized'), `restrict ${await publicKey('key')}\n`)
  for (const [file, name] of [
    ['known_hosts', 'host'],
    ['other_hosts', 'other-host'],
  ] as const) {
    const key = await publicKey(name)
    const names = `[127.0.0.1]:${port},[git.example.org]:${port}`
    await writeFile(at(file), `${names} ${key}\n`)
  }
  await writeFile(
    at('sshd_config'),
    [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${at('host')}`,
      `AuthorizedKeysFile ${at('authorized')}`,
      'PidFile none',
      'UsePAM no',
      'StrictModes no',
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'LogLevel VERBOSE',
      '',
    ].join('\n'),
  )
  let said = ''
  const child = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', at('sshd_config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const end = Date.now() + 30_000
  while (!said.includes('Server listening')) {
    if (child.exitCode !== null || Date.now() > end) throw new Error(`sshd did not start: ${said}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    port,
    user: userInfo().username,
    key: at('key'),
    strangerKey: at('stranger'),
    knownHosts: at('known_hosts'),
    otherHosts: at('other_hosts'),
    log: () => said,
    async close() {
      child.kill()
      await gone
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
