import { mkdir } from 'node:fs/promises'
import type { ChangeBody, FactOf } from '../../src/domain/statement.ts'
import { openEdge } from '../../src/edge/edge.ts'
import {
  environmentIn,
  inState,
  joining,
  serverOf,
  withPort,
  without,
} from '../../src/edge/state.ts'
import { edgePathsOf } from '../../src/main/edge-paths.ts'
import { readDefinition } from '../../src/main/ledger-view.ts'
import { openFence } from '../../src/runtime/fence.ts'
import { noteEnding, noteGone, noteMade, takeKey } from '../../src/runtime/host-record.ts'
import type { Rooms } from './rooms.ts'

const ports = new Map([
  ['hello/dev', 20_100],
  ['hello/test', 20_101],
  ['hello/prod', 20_102],
])

/** The edge's own files. In 0.1.0 it was opened with its paths alone. */
export function edgeOf({ paths }: Pick<Rooms, 'paths'>) {
  const files = edgePathsOf(paths)
  const frame = { ...files, paths: files, entrance: null }
  return openEdge(frame, () => undefined)
}

type Done = {
  change: ChangeBody
  key: FactOf<'key'>
  instances: readonly { name: string; id: string }[]
}

/** What the host and the edge write when a change goes well. */
export async function onHost(rooms: Rooms, done: Done): Promise<void> {
  await inFence(rooms, done)
  await inEdge(rooms, done)
}

async function inFence({ paths, now }: Rooms, { change, key, instances }: Done): Promise<void> {
  const { environment } = change
  const { sequence } = key.body
  const fence = await openFence({ folder: paths.host })
  const old = Object.keys(fence.record(environment).made)
  const attempt = { signal: new AbortController().signal, heartbeat: () => undefined }
  await fence.run(change, attempt, async () => {
    await fence.note(environment, (known) => takeKey(known, { leaf: key.leaf, sequence }))
    for (const { id } of instances) {
      await fence.note(environment, (known) => noteMade(known, id, now().toISOString()))
    }
    await fence.note(environment, (known) => noteEnding(known, old))
    await fence.note(environment, (known) => noteGone(known, old))
  })
  fence.close()
}

async function inEdge(rooms: Rooms, { change, key, instances }: Done): Promise<void> {
  const { environment, epoch } = change
  const definition = await readDefinition(rooms.store, key.body.definition)
  const servers = instances.map(({ name, id }, at) =>
    serverOf({ name, id, address: `10.0.0.${epoch * 10 + at}`, port: 8080 }, definition),
  )
  const names = servers.map(({ name }) => name)
  await mkdir(rooms.paths.edge, { recursive: true })
  await edgeOf(rooms).write((state) => {
    const port = ports.get(environment) ?? 0
    const old = environmentIn(state, environment)?.servers.map(({ name }) => name) ?? []
    const joined = joining(withPort(state, environment, port), environment, servers)
    const open = inState(joined, environment, { names, state: 'ready' })
    return without(open, environment, old)
  })
}
