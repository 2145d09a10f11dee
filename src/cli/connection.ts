import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Connection } from '../api/client.ts'
import { KilnError } from '../domain/error.ts'
import type { Env } from './context.ts'

export function homeOf(env: Env, folder: string): string {
  return env['KILN_HOME'] || join(folder, '.kiln')
}

/**
 * Where the server is and what opens it: KILN_ADDRESS and KILN_TOKEN, or else what a server on this
 * machine wrote into its state folder, `api.json` and `token`.
 */
export async function findConnection(env: Env, home: string): Promise<Connection> {
  const address = env['KILN_ADDRESS'] || (await readAddress(join(home, 'api.json')))
  const token = env['KILN_TOKEN'] || (await readToken(join(home, 'token')))
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    throw new KilnError('invalid_input', `not an address: ${address}`, {
      place: 'KILN_ADDRESS',
      fix: 'write it as http://127.0.0.1:<port>',
    })
  }
  return { address, token }
}

async function readAddress(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new KilnError('not_running', 'no Kiln runs here', { cause, place: path, fix: 'kiln up' })
  })
  const { address } = JSON.parse(text) as { address?: unknown }
  if (typeof address === 'string') return address
  throw new KilnError('not_running', 'it does not say where Kiln listens', {
    place: path,
    fix: 'kiln up',
  })
}

async function readToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new KilnError('unauthenticated', 'there is no API token here', {
      cause,
      place: path,
      fix: 'set KILN_TOKEN, or run as the user that ran kiln up',
    })
  })
  return text.trim()
}
