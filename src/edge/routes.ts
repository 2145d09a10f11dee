import { hostsName, hostsOf, routesName, routesOf } from './entrance.ts'
import { tell } from './runtime-api.ts'
import { ask } from './socket.ts'
import type { EdgeState } from './state.ts'

export type MapChange = { kind: 'add' | 'set' | 'del'; key: string; value: string }

/** What makes one map of the other. Pure. */
export function changesOf(
  present: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string>,
): MapChange[] {
  const added = [...wanted].flatMap(([key, value]): MapChange[] => {
    const now = present.get(key)
    if (now === value) return []
    return [{ kind: now === undefined ? 'add' : 'set', key, value }]
  })
  const gone = [...present.keys()].filter((key) => !wanted.has(key))
  return [...added, ...gone.map((key): MapChange => ({ kind: 'del', key, value: '' }))]
}

/**
 * Lets the running HAProxy route as the state says, without a reload. A new route is there before its host
 * is known to have one, and an old host is forgotten before its routes: no request falls between.
 */
export async function applyRoutes(socket: string, state: EdgeState): Promise<void> {
  const routes = routesOf(state)
  const byMap = async (name: string, wanted: ReadonlyMap<string, string>) => ({
    name,
    changes: changesOf(await showMap(socket, name), wanted),
  })
  const [inRoutes, inHosts] = [
    await byMap(routesName, routes),
    await byMap(hostsName, hostsOf(routes)),
  ]
  await change(
    socket,
    inRoutes.name,
    inRoutes.changes.filter((one) => !isRemoval(one)),
  )
  await change(socket, inHosts.name, inHosts.changes)
  await change(socket, inRoutes.name, inRoutes.changes.filter(isRemoval))
}

function isRemoval({ kind }: MapChange): boolean {
  return kind === 'del'
}

async function change(socket: string, map: string, changes: readonly MapChange[]): Promise<void> {
  for (const { kind, key, value } of changes) {
    await tell(socket, `${kind} map ${map} ${key}${kind === 'del' ? '' : ` ${value}`}`)
  }
}

/** Each line is an address in memory, the key, and the value. */
async function showMap(socket: string, name: string): Promise<ReadonlyMap<string, string>> {
  const lines = (await ask(socket, `show map ${name}`)).split('\n').filter((line) => line !== '')
  return new Map(
    lines.map((line) => {
      const [, key = '', value = ''] = line.split(' ')
      return [key, value] as const
    }),
  )
}
