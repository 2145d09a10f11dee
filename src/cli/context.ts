import type { Readable, Writable } from 'node:stream'
import type { Client } from '../api/client.ts'
import type { LocalVerbs } from './local-port.ts'

type Terminal = { isTTY?: boolean; columns?: number; rows?: number }

export type Io = {
  stdin: Readable & Terminal
  stdout: Writable & Terminal
  stderr: Writable & Terminal
}

/** Environment variables, as `src/main/cli.ts` was given them. */
export type Env = Readonly<Record<string, string | undefined>>

/** All that the command line has of the world. Nothing in it is opened before a verb needs it. */
export type Cli = {
  io: Io
  env: Env
  version: string
  /** The working folder, in full. */
  folder: string
  now: () => Date
  /** Calls back at each Ctrl-C, until the returned function is called. */
  onInterrupt: (handler: () => void) => () => void
  connect: () => Promise<Client>
  local: () => Promise<LocalVerbs>
}

/** A person sits there: both what is asked and what is answered goes through a terminal. */
export function isInteractive({ stdin, stderr }: Io): boolean {
  return stdin.isTTY === true && stderr.isTTY === true
}
