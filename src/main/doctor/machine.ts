import { existsSync, statfsSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import type { Config } from '../config.ts'
import { good, missing, warning, type Check } from './check.ts'

const gigabyte = 1_000_000_000
const leastFree = 5 * gigabyte
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

export function checkHome(home: string): Check[] {
  const { bavail, bsize, type } = statfsSync(existing(home))
  return [
    judgeSpace(bavail * bsize),
    judgeFileSystem(home, type),
    judgeLength(Buffer.byteLength(home)),
  ]
}

function existing(folder: string): string {
  return existsSync(folder) ? folder : existing(dirname(folder))
}

export function judgeSpace(freeBytes: number): Check {
  const found = `${(freeBytes / gigabyte).toFixed(1)} GB free`
  const finding = { name: 'disk space', found, wanted: '5 GB free' }
  if (freeBytes >= leastFree) return good(finding)
  return missing(finding, 'free some, or set KILN_HOME to a folder on a larger disk')
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
export async function checkPorts(ports: Config['ports'], running: boolean): Promise<Check> {
  const { edgeFirst: _first, edgeLast: _last, ...fixed } = ports
  const all = Object.entries(fixed)
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
