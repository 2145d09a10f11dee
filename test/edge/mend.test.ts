import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFile, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Definition } from '../../src/domain/definition.ts'
import type { Digest } from '../../src/domain/digest.ts'
import type { Endpoint } from '../../src/domain/effect.ts'
import { parseServersState } from '../../src/edge/scan.ts'
import { ask } from '../../src/edge/socket.ts'
import { definition, effectOf, environment } from '../runtime/host-at-hand.ts'
import { edgeAtHand, type EdgeAtHand } from './edge-at-hand.ts'

const digest = `sha256:${'d'.repeat(64)}` as Digest
const definitions = new Map<Digest, Definition>([[digest, definition]])
const backend = 'be:hello.prod'
const servers: Server[] = []
let edge: EdgeAtHand
let instances: Endpoint[]
let port: number

beforeEach(async () => {
  edge = await edgeAtHand(definitions)
  instances = [await service('one'), await service('two')]
  const effect = { ...effectOf(1), definition: digest }
  ;({ port } = await edge.activities.ensureEnvironment(effect))
  await edge.activities.joinEdge({ ...effect, instances })
})
afterEach(async () => {
  await edge.close()
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function service(name: string): Promise<Endpoint> {
  const server = createServer((_request, response) => response.end(name))
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { name, id: name, address: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

const tell = (command: string) => ask(edge.paths.socket, command)
const live = async () => parseServersState(await tell(`show servers state ${backend}`))

/** Who answers forty requests. */
async function answering(): Promise<string[]> {
  const names = new Set<string>()
  for (let count = 0; count < 40; count++)
    names.add(await (await fetch(`http://127.0.0.1:${port}/`)).text())
  return [...names].toSorted()
}

const byHand: [string, (rogue: Endpoint) => Promise<unknown>, string, string][] = [
  [
    'a server that no key names',
    async (rogue) => {
      await tell(`add server ${backend}/rogue 127.0.0.1:${rogue.port} weight 100`)
      await tell(`set server ${backend}/rogue state ready`)
    },
    'rogue',
    'nothing: no key names it',
  ],
  [
    'a server that was sent elsewhere',
    (rogue) => tell(`set server ${backend}/one addr 127.0.0.1 port ${rogue.port}`),
    'one',
    'with weight 100, ready',
  ],
  [
    'a server without weight',
    () => tell(`set server ${backend}/two weight 0`),
    'two',
    'with weight 100, ready',
  ],
  [
    'a server in maintenance',
    () => tell(`set server ${backend}/two state maint`),
    'two',
    'with weight 100, ready',
  ],
  [
    'a server that was deleted',
    async () => {
      await tell(`set server ${backend}/one state maint`)
      await tell(`del server ${backend}/one`)
    },
    'one',
    'with weight 100, ready',
  ],
  [
    'an entry of the state file',
    async () => {
      const state = JSON.parse(await readFile(edge.paths.state, 'utf8')) as {
        environments: { servers: { name: string }[] }[]
      }
      const [first] = state.environments
      const [one] = first?.servers ?? []
      first?.servers.push({ ...one, name: 'rogue' })
      await writeFile(edge.paths.state, JSON.stringify(state))
    },
    'rogue',
    'nothing: no key names it',
  ],
]

test.each(byHand)('%s is found, told once and mended', async (...row) => {
  const [, act, server, expected] = row
  await act(await service('rogue'))
  const drifts = await edge.mend(environment, instances)
  expect(drifts).toMatchObject([{ instance: server, cause: 'edge' }])
  expect(drifts[0]?.expected).toContain(expected)
  expect(await edge.mend(environment, instances)).toEqual([])
  expect((await live()).map(({ name, weight, admin }) => [name, weight, admin])).toEqual(
    expect.arrayContaining([
      ['one', 100, 0],
      ['two', 100, 0],
    ]),
  )
  expect(await live()).toHaveLength(2)
  expect(await answering()).toEqual(['one', 'two'])
  expect(await readFile(edge.paths.state, 'utf8')).not.toContain('rogue')
})

test('what stands as Kiln put it is left alone', async () => {
  const before = await live()
  expect(await edge.mend(environment, instances)).toEqual([])
  expect(await live()).toEqual(before)
})
