import { PGlite } from '@electric-sql/pglite'
import { Client, Connection } from '@temporalio/client'
import { join } from 'node:path'
import { createDocker } from '../../src/docker/client.ts'
import { ofProcess, processesOf } from './processes-of.ts'
import { onRecord } from './record.ts'
import type { Contents } from './every-route.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'

/** Every history that Temporal has, as its own API tells it, payloads decoded. */
export async function* histories(kiln: KilnAtHand): Contents {
  const address = `127.0.0.1:${Number(kiln.env['KILN_API_PORT']) + 5}`
  const connection = await Connection.connect({ address })
  try {
    const client = new Client({ connection })
    for await (const { workflowId, runId } of client.workflow.list()) {
      const history = await client.workflow.getHandle(workflowId, runId).fetchHistory()
      yield Buffer.from(JSON.stringify(history, decoded))
    }
  } finally {
    await connection.close()
  }
}

function decoded(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1')
  const json = value as { type?: string; data?: number[] } | null
  return json?.type === 'Buffer' ? Buffer.from(json.data ?? []).toString('latin1') : value
}

/** Every row of every table; only while the server, which has them open, is down. */
export async function* sqlDump(kiln: KilnAtHand): Contents {
  const database = await PGlite.create(join(kiln.home, 'index', 'pg'))
  try {
    const { rows } = await database.query<{ name: string }>(
      `select quote_ident(schemaname) || '.' || quote_ident(tablename) as name from pg_tables
       where schemaname not in ('pg_catalog', 'information_schema')`,
    )
    for (const { name } of rows) {
      const table = await database.query(`select row_to_json(t)::text as row from ${name} t`)
      yield Buffer.from(JSON.stringify(table.rows))
    }
  } finally {
    await database.close()
  }
}

/** Every statement of the log as it was verified. */
export async function* statements(kiln: KilnAtHand): Contents {
  for (const fact of (await onRecord(kiln)).facts) yield Buffer.from(JSON.stringify(fact))
}

/** What the engine tells of this Kiln's containers, their images and networks, and their output. */
export async function* engine(kiln: KilnAtHand): Contents {
  const docker = createDocker({ socketPath: '/var/run/docker.sock' })
  const filters = { label: [`kiln.host=${kiln.host}`] }
  for (const { Id } of await docker.listContainers({ all: true, filters })) {
    const container = docker.getContainer(Id)
    const inspected = await container.inspect()
    yield Buffer.from(JSON.stringify(inspected))
    const image = docker.getImage(inspected.Image)
    yield Buffer.from(JSON.stringify([await image.inspect(), await image.history()]))
    yield await container.logs({ stdout: true, stderr: true, follow: false })
  }
  const networks = await docker.listNetworks({ filters: JSON.stringify(filters) })
  yield Buffer.from(JSON.stringify(networks))
}

/** What `ps` shows of this Kiln's processes: their command lines, and their environments to their own user. */
export async function* processes(kiln: KilnAtHand): Contents {
  for (const pid of processesOf(kiln.home))
    for (const what of ['cmdline', 'environ'] as const) yield Buffer.from(ofProcess(pid, what))
}
