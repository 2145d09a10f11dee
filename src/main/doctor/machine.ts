import { existsSync, statfsSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { inWords } from '../../store/free-space.ts'
import { good, missing, warning, type Check } from './check.ts'

/** The kernel allows 107 bytes for a socket's path; the longest of Kiln's below the home takes 40. */
const longestHome = 67

/** File systems by the magic numbers of statfs(2) on which Kiln's locks or its durability do not hold. */
const unsuitable: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
  [0x01021997, '9p'],
  [0x01021994, 'tmpfs, in memory only'],
])

export function checkHome(home: string, least: number): Check[] {
  const { bavail, bsize, type } = statfsSync(existing(home))
  return [
    judgeSpace(bavail * bsize, least),
    judgeFileSystem(home, type),
    judgeLength(Buffer.byteLength(home)),
  ]
}

function existing(folder: string): string {
  return existsSync(folder) ? folder : existing(dirname(folder))
}

/** Below `least` (KILN_MIN_FREE) nothing begins; a little above it, that day is near. */
export function judgeSpace(freeBytes: number, least: number, name = 'disk space'): Check {
  const found = `${inWords(freeBytes)} free`
  const finding = { name, found, wanted: `${inWords(least)} free, better twice that` }
  if (freeBytes >= 2 * least) return good(finding)
  const fix = 'kiln prune, then docker image prune; or a larger disk'
  return freeBytes >= least ? warning(finding, fix) : missing(finding, fix)
}

export function judgeFileSystem(home: string, type: number): Check {
  const name = unsuitable.get(type)
  const finding = {
    name: 'file system of the home',
    found: name ?? 'local',
    wanted: 'a local disk that keeps what it was given',
  }
  if (name === undefined) return good(finding)
  return warning(finding, `set KILN_HOME to a folder on a local disk, not ${home}`)
}

function judgeLength(bytes: number): Check {
  const finding = {
    name: 'path of the home',
    found: `${bytes} bytes`,
    wanted: `at most ${longestHome} bytes, for the sockets below it`,
  }
  return bytes <= longestHome ? good(finding) : missing(finding, 'set KILN_HOME to a shorter path')
}

/** Everybody's fixed ports: free, or in use by this Kiln itself. */
export async function checkPorts(
  ports: Readonly<Record<string, number>>,
  running: boolean,
): Promise<Check> {
  const all = Object.entries(ports)
  const wanted = `${all.map(([, port]) => port).join(', ')} free`
  if (running) return good({ name: 'ports', found: 'in use by this Kiln', wanted })
  const taken = await Promise.all(
    all.map(async ([name, port]) => ((await isTaken(port)) ? [`${port} (${name})`] : [])),
  )
  const list = taken.flat()
  if (list.length === 0) return good({ name: 'ports', found: 'free', wanted })
  const fix = 'end the program that listens (ss -lntp shows it), or set KILN_API_PORT'
  return missing({ name: 'ports', found: `taken: ${list.join(', ')}`, wanted }, fix)
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** A clock that is behind signs statements that every reader takes for older than what they follow. */
export function judgeClock(now: Date, written: Date): Check {
  const found = now.toISOString()
  const wanted = `not before ${written.toISOString()}, when Kiln's own files were written`
  const finding = { name: 'clock', found, wanted }
  if (now >= written) return good(finding)
  return missing(finding, 'set the clock: timedatectl set-ntp true')
}
