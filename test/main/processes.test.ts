import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/main/config.ts'
import { processesOf } from '../../src/main/processes.ts'
import { startOrder } from '../../src/main/supervisor/process-description.ts'
import { startSupervisor } from '../../src/main/supervisor/supervisor.ts'
import { clock, freePort, listeningLogger, makeHome } from './supervisor/scratch.ts'

function of(settings: Record<string, string>) {
  const environment = { PATH: process.env['PATH'] ?? '', ...settings }
  return processesOf(loadConfig(environment, '/'), environment)
}

test('the processes of one machine, in the order of their start', () => {
  const names = startOrder(of({})).map(({ name }) => name)
  expect(names).toEqual(['signer', 'temporal', 'haproxy', 'server', 'build', 'host'])
})

test('where a Temporal server is given, none is started', () => {
  const names = startOrder(of({ KILN_TEMPORAL_ADDRESS: 'temporal.internal:7233' }))
  expect(names.map(({ name }) => name)).not.toContain('temporal')
})

test('processes are given their settings and no other variable', () => {
  const processes = of({ KILN_HOME: '/state', KILN_LOG_LEVEL: 'debug', A_SECRET: 'canary' })
  for (const { environment } of processes) {
    expect(environment).toMatchObject({ KILN_HOME: '/state', KILN_LOG_LEVEL: 'debug' })
    expect(Object.values(environment)).not.toContain('canary')
  }
})

test("what AWS's SDK goes by reaches the signer, which asks KMS, and nobody else", () => {
  const processes = of({ AWS_SECRET_ACCESS_KEY: 'canary', AWS_PROFILE: 'kiln' })
  const given = processes.filter(({ environment }) => 'AWS_SECRET_ACCESS_KEY' in environment)
  expect(given.map(({ name }) => name)).toEqual(['signer'])
  expect(given[0]?.environment).toMatchObject({ AWS_PROFILE: 'kiln' })
})

test('the real Temporal and the real HAProxy come up and go down', async () => {
  const { home, paths } = makeHome()
  const { logger } = listeningLogger()
  const settings = { KILN_HOME: home, KILN_TEMPORAL_PORT: String(await freePort()) }
  const processes = of(settings).filter(({ name }) => name === 'temporal' || name === 'haproxy')
  const supervisor = await startSupervisor({ processes, paths, logger, clock })
  onTestFinished(() => supervisor.stop())
  expect(supervisor.state().processes.map(({ state }) => state)).toEqual(['ready', 'ready'])
  await supervisor.stop()
  expect(supervisor.state().processes.map(({ state }) => state)).toEqual(['stopped', 'stopped'])
})
