import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../../src/main/config.ts'
import { startOrder } from '../../../src/main/supervisor/process-description.ts'
import { kilnProcesses } from '../../../src/main/supervisor/processes.ts'
import { startSupervisor } from '../../../src/main/supervisor/supervisor.ts'
import { clock, freePort, listeningLogger, makeHome } from './scratch.ts'

function processesOf(settings: Record<string, string>, prepareEdge = async () => {}) {
  const config = loadConfig(settings, '/')
  const environment = { PATH: process.env['PATH'] ?? '' }
  return kilnProcesses({ config, node: process.execPath, root: '/kiln', environment, prepareEdge })
}

test('the processes of one machine, in the order of their start', () => {
  const names = startOrder(processesOf({})).map(({ name }) => name)
  expect(names).toEqual(['signer', 'temporal', 'haproxy', 'server', 'build', 'host'])
})

test('where a Temporal server is given, none is started', () => {
  const processes = processesOf({ KILN_TEMPORAL_ADDRESS: 'temporal.internal:7233' })
  expect(startOrder(processes).map(({ name }) => name)).not.toContain('temporal')
})

test('every process knows its home, the workers their health port', () => {
  const processes = processesOf({ KILN_HOME: '/state' })
  const of = (name: string) => processes.find((one) => one.name === name)
  for (const name of ['signer', 'server', 'build', 'host']) {
    expect(of(name)?.environment['KILN_HOME']).toBe('/state')
    expect(of(name)?.args).toEqual([`/kiln/src/main/${name}.ts`])
  }
  expect(of('build')?.environment['KILN_HEALTH_PORT']).toBe('7403')
  expect(of('host')?.environment['KILN_HEALTH_PORT']).toBe('7404')
  expect(of('server')?.environment['KILN_HEALTH_PORT']).toBeUndefined()
})

test('the real Temporal and the real HAProxy come up and go down', async () => {
  const { home, paths } = makeHome()
  const { logger } = listeningLogger()
  const port = await freePort()
  const settings = { KILN_HOME: home, KILN_TEMPORAL_PORT: String(port) }
  const edge = join(home, 'edge')
  const processes = processesOf(settings, async () => {
    mkdirSync(edge, { recursive: true })
    writeFileSync(join(edge, 'haproxy.cfg'), `global\n  stats socket ${home}/run/haproxy.sock\n`)
  })
  const real = processes.filter(({ name }) => name === 'temporal' || name === 'haproxy')
  const supervisor = await startSupervisor({ processes: real, paths, logger, clock })
  onTestFinished(() => supervisor.stop())
  expect(supervisor.state().processes.map(({ state }) => state)).toEqual(['ready', 'ready'])
  await supervisor.stop()
  expect(supervisor.state().processes.map(({ state }) => state)).toEqual(['stopped', 'stopped'])
})
