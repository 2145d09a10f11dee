import type { Endpoint } from '../domain/effect.ts'
import type { Drift } from '../domain/request.ts'
import { fullWeight } from './config.ts'
import type { EdgeServer } from './state.ts'

/** A server as HAProxy has it now. */
export type LiveServer = {
  name: string
  address: string
  port: number
  weight: number
  /** What somebody set by hand (maintenance, drain) as HAProxy's bits; 0 is none. */
  admin: number
}

/** Reads `show servers state <backend>`, whose columns the second line names. Empty when there is no backend. */
export function parseServersState(text: string): LiveServer[] {
  const [, head = '', ...lines] = text.split('\n')
  if (!head.startsWith('# ')) return []
  const columns = head.slice(2).split(' ')
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const cells = line.split(' ')
      const cell = (column: string) => cells[columns.indexOf(column)] ?? ''
      return {
        name: cell('srv_name'),
        address: cell('srv_addr'),
        port: Number(cell('srv_port')),
        weight: Number(cell('srv_uweight')),
        admin: Number(cell('srv_admin_state')),
      }
    })
}

/** One difference at the edge, and what mends it. */
export type EdgeFault = {
  server: string
  found: string
  expected: string
  mend: 'remove' | 'restore' | 'add'
}

/**
 * What stands in the edge though nothing adopted it, or differs from what should: `ours` is the state
 * that Kiln wrote, `instances` what the ledger's last activation adopted, at the addresses that the
 * engine gave them. Pure; for moments in which no change is under way.
 */
export function edgeFaults(
  ours: readonly EdgeServer[],
  live: readonly LiveServer[],
  instances: readonly Endpoint[],
): EdgeFault[] {
  const adopted = new Map(instances.map((one) => [one.name, one]))
  const names = new Set([...live, ...ours].map(({ name }) => name))
  return [...names].toSorted().flatMap((name) => {
    const server = live.find((one) => one.name === name)
    const written = ours.find((one) => one.name === name)
    const instance = adopted.get(name)
    if (instance === undefined || written === undefined) return [stranger(name, server)]
    return differing({ name, server, written, instance })
  })
}

function stranger(server: string, live: LiveServer | undefined): EdgeFault {
  const where = live === undefined ? 'in its state file' : `at ${live.address}:${live.port}`
  return {
    server,
    found: `a server ${where}`,
    expected: 'nothing: no key names it',
    mend: 'remove',
  }
}

function differing(of: {
  name: string
  server: LiveServer | undefined
  written: EdgeServer
  instance: Endpoint
}): EdgeFault[] {
  const { name, server, written, instance } = of
  // One without an address does not run: that is a finding of its own.
  if (instance.address === '' || written.state !== 'ready') return []
  const should = `${instance.address}:${instance.port} with weight ${fullWeight}, ready`
  const fault = (found: string, mend: EdgeFault['mend']) => [
    { server: name, found, expected: should, mend },
  ]
  if (server === undefined) return fault('no server', 'add')
  const places = [server, written].map(({ address, port }) => `${address}:${port}`)
  const [is = ''] = places
  const right = places.every((place) => place === `${instance.address}:${instance.port}`)
  if (right && server.weight === fullWeight && server.admin === 0) return []
  const state = server.admin === 0 ? 'ready' : 'taken out by hand'
  return fault(`${is} with weight ${server.weight}, ${state}`, 'restore')
}

/** As it goes on record. */
export function driftOfFault({ server, found, expected }: EdgeFault): Drift {
  return { instance: server.slice(0, 300), cause: 'edge', found, expected }
}
