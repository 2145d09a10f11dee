import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { atLeast, good, missing, type Check } from './check.ts'

/** A program that must be on PATH. */
type Program = {
  name: string
  command: string
  args: readonly string[]
  /** Finds the version in what it prints. */
  version: RegExp
  least: string
  fix: string
}

function debian(packageName: string): string {
  return `apt-get install -y ${packageName}, or: sh scripts/setup.sh`
}

export const haproxy: Program = {
  name: 'HAProxy',
  command: 'haproxy',
  args: ['-v'],
  version: /version (\d+(?:\.\d+)+)/,
  least: '2.4',
  fix: debian('haproxy'),
}

export const temporal: Program = {
  name: 'Temporal CLI',
  command: 'temporal',
  args: ['--version'],
  version: /version (\d+(?:\.\d+)+)/,
  least: '1.4',
  fix: 'sh scripts/setup.sh, or set KILN_TEMPORAL_ADDRESS',
}

export const tools: readonly Program[] = [
  {
    name: 'git',
    command: 'git',
    args: ['--version'],
    version: /version (\d+(?:\.\d+)+)/,
    least: '2.30',
    fix: debian('git'),
  },
  {
    name: 'mmdebstrap',
    command: 'mmdebstrap',
    args: ['--version'],
    version: /(\d+(?:\.\d+)+)/,
    least: '1.3',
    fix: debian('mmdebstrap'),
  },
  {
    name: 'apt-ftparchive',
    command: 'apt-ftparchive',
    args: ['--version'],
    version: /apt (\d+(?:\.\d+)+)/,
    least: '2.2',
    fix: debian('apt-utils'),
  },
]

/** Runs the program with `environment` as it is: what the doctor sees is what the processes would. */
export async function checkProgram(
  { name, command, args, version, least, fix }: Program,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Check> {
  const wanted = `${least} or newer on PATH`
  try {
    const options = { env: { ...environment }, timeout: 10_000 }
    const { stdout, stderr } = await promisify(execFile)(command, args, options)
    const found = version.exec(stdout + stderr)?.[1] ?? 'an unknown version'
    const finding = { name, found, wanted }
    return atLeast(found, least) ? good(finding) : missing(finding, fix)
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    const found = absent ? 'not found' : `fails: ${String(error).slice(0, 100)}`
    return missing({ name, found, wanted }, fix)
  }
}

export function checkNode(version: string): Check {
  const finding = { name: 'Node', found: version, wanted: '24 or newer' }
  return atLeast(version, '24') ? good(finding) : missing(finding, 'sh scripts/setup.sh')
}
