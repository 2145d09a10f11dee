import type { Endpoint } from '../domain/effect.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { fullWeight } from './config.ts'
import { backendName } from './entrance.ts'
import type { Edge } from './edge.ts'
import { tell } from './runtime-api.ts'
import { edgeFaults, parseServersState, type EdgeFault, type LiveServer } from './scan.ts'
import { ask } from './socket.ts'
import { environmentIn, without, type EdgeServer, type EdgeState } from './state.ts'
import { addServers, deleteServers, openServers, type Traffic } from './traffic.ts'

/** HAProxy has this long to find a server well that was put back. */
const checkWithinMs = 5000

/**
 * Brings the environment's part of HAProxy back to the instances that the ledger adopted, and answers
 * with what differed. Nothing may act on the environment meanwhile. A server that no key names loses
 * its requests at once: whoever put it there answers them, not Kiln.
 */
export async function mendEdge(
  edge: Edge,
  traffic: Traffic,
  instances: readonly Endpoint[],
): Promise<readonly EdgeFault[]> {
  const { environment } = traffic
  const ours = environmentIn(await edge.read(), environment)?.servers
  if (ours === undefined) return []
  const live = await liveServers(traffic)
  const faults = edgeFaults(ours, live, instances)
  if (faults.length === 0) return faults
  const of = (mend: EdgeFault['mend']) =>
    faults.filter((fault) => fault.mend === mend).map(({ server }) => server)
  await edge.write((state) => corrected(state, environment, { remove: of('remove'), instances }))
  await remove(traffic, of('remove'))
  const right = instances.filter(({ name }) => of('restore').includes(name))
  for (const one of right) await restore(traffic, one)
  const missing = (environmentIn(await edge.read(), environment)?.servers ?? []).filter(
    ({ name }) => of('add').includes(name),
  )
  if (missing.length > 0) await addServers(traffic, missing, checkWithinMs)
  await openServers(
    traffic,
    [...right, ...missing].map(({ name }) => name),
  )
  return faults
}

async function liveServers({ paths, environment }: Traffic): Promise<LiveServer[]> {
  return parseServersState(
    await ask(paths.socket, `show servers state ${backendName(environment)}`),
  )
}

/** The state without what nobody adopted, and with the addresses that the engine gave. */
function corrected(
  state: EdgeState,
  environment: EnvironmentName,
  { remove: names, instances }: { remove: readonly string[]; instances: readonly Endpoint[] },
): EdgeState {
  const kept = without(state, environment, names)
  const place = (server: EdgeServer): EdgeServer => {
    const one = instances.find(({ name }) => name === server.name)
    if (one === undefined || one.address === '') return server
    return { ...server, address: one.address, port: one.port }
  }
  return {
    ...kept,
    environments: kept.environments.map((one) =>
      one.environment === environment ? { ...one, servers: one.servers.map(place) } : one,
    ),
  }
}

async function remove(traffic: Traffic, names: readonly string[]): Promise<void> {
  const { paths, environment } = traffic
  for (const name of names) {
    const server = `${backendName(environment)}/${name}`
    // It may be in the state file alone: then HAProxy has nothing to say of it.
    await ask(paths.socket, `set server ${server} state maint`)
    await ask(paths.socket, `shutdown sessions server ${server}`)
  }
  await deleteServers(traffic, names)
}

async function restore(
  { paths, environment }: Traffic,
  { name, address, port }: Endpoint,
): Promise<void> {
  const server = `${backendName(environment)}/${name}`
  await ask(paths.socket, `set server ${server} addr ${address} port ${port}`)
  await tell(paths.socket, `set server ${server} weight ${fullWeight}`)
  await tell(paths.socket, `enable health ${server}`)
}
