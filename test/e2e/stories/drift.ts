import { Connection } from '@temporalio/client'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Repository } from '../../../scripts/demo/repository.ts'
import type { Client } from '../../../src/api/client.ts'
import { createDocker } from '../../../src/docker/client.ts'
import { loadConfig } from '../../../src/main/config.ts'
import { startLoad } from '../../helpers/load-client.ts'
import { edit, paramsOf } from '../by-api.ts'
import { here, run, work } from '../command.ts'
import { eventually, type KilnAtHand } from '../kiln-at-hand.ts'
import { changesOf, containersOf, onRecord } from '../record.ts'

/** `good` is what prod serves with two instances; dev serves what was `crashing`, and can return to it. */
type Given = { kiln: KilnAtHand; api: Client; good: string }

const docker = createDocker({ socketPath: '/var/run/docker.sock' })

const seen = (api: Client, environment: string) =>
  api.environment({ params: paramsOf(`hello/${environment}`) })

async function upperOf(id: string): Promise<string> {
  const { GraphDriver } = await docker.getContainer(id).inspect()
  const { UpperDir } = GraphDriver.Data as unknown as { UpperDir: string }
  return UpperDir
}

/** The service bears no work any more: it ends after the first of it. */
export function crashing(repository: Repository): Promise<void> {
  return edit(repository, 'server.js', (text) =>
    text.replace(
      'await wait(workMs)',
      'setTimeout(() => process.exit(7), 100); await wait(workMs)',
    ),
  )
}

/** The first request ends the process, each time, until Kiln lets it lie; gives the id of the last one. */
async function crashUntilAlarm(api: Client, address: string) {
  let hit = ''
  const alarm = await eventually('the alarm', 120, async () => {
    const now = await seen(api, 'dev')
    const [{ id } = { id: '' }] = now.running
    if (now.alarm !== null) return now.alarm
    if (now.open !== null || id === hit) return undefined
    hit = id
    // Whatever the answer, if any: it is what the app cannot bear.
    await fetch(`${address}/work`, { method: 'POST' }).catch(() => undefined)
    return undefined
  })
  return { alarm, hit }
}

/** On record once, in status and in the server's log. */
async function alarmIsSaid(kiln: KilnAtHand): Promise<void> {
  const { of } = await onRecord(kiln)
  const alarms = of('refusal').filter(({ body }) => body.rule === 'repeated-drift.stopped')
  expect(alarms).toMatchObject([{ body: { environment: 'hello/dev' } }])
  expect(of('drift').filter(({ body }) => body.found.includes('exit code 7'))).not.toEqual([])
  const { stderr, stdout } = await here(kiln, 'status')
  expect(`${stdout}${stderr}`).toContain('ALARM hello/dev: instances of hello/dev were replaced 3')
  expect(await readFile(join(kiln.home, 'logs/server.log'), 'utf8')).toContain(
    '"alarm":"repeated-drift.stopped"',
  )
}

/** What a Kiln that keeps histories for three days does about files that changed and about an app that crashes. */
export function driftStory(given: () => Given): void {
  test('files changed in every instance at once: found by a scan, replaced, no request lost', async () => {
    const { kiln, api } = given()
    expect((await here(kiln, 'scan', 'prod')).exitCode).toBe(0)
    const before = await seen(api, 'prod')
    const traffic = startLoad(String(before.address), {
      path: '/work',
      connections: 2,
      pauseMs: 10,
    })
    for (const { id } of before.running)
      await writeFile(join(await upperOf(id), 'planted'), 'canary')
    const scanned = await run(kiln, 'scan', 'prod', '--json')
    expect(scanned.exitCode).toBe(8)
    expect(scanned.stdout).toContain('added /planted: sha256:')
    expect(scanned.stdout).not.toContain('canary')
    await eventually('all are new', 60, async () => {
      const now = await seen(api, 'prod')
      const old = before.running.map(({ id }) => id)
      const fresh = now.running.every(({ id }) => !old.includes(id))
      return now.open === null && fresh && now.running.length === 2 ? true : undefined
    })
    expect(await traffic.stop()).toMatchObject({ failed: 0, errors: [] })
    const { of } = await onRecord(kiln)
    const told = of('drift').filter(({ body }) => body.cause === 'content')
    expect(told.map(({ body }) => body.instance).toSorted()).toEqual(
      before.running.map(({ name }) => name).toSorted(),
    )
    expect((await here(kiln, 'scan', 'prod')).exitCode).toBe(0)
  }, 90_000)

  test('what has ended stays in Temporal for as many days as the setting says', async () => {
    const { kiln } = given()
    const { temporal } = loadConfig({ KILN_HOME: kiln.home, ...kiln.env }, '/')
    const connection = await Connection.connect({ address: temporal.address })
    const { config } = await connection.workflowService.describeNamespace({ namespace: 'default' })
    await connection.close()
    expect(Number(config?.workflowExecutionRetentionTtl?.seconds)).toBe(3 * 24 * 3600)
  })

  test('an app that crashes by itself again and again is replaced three times, then alarms, and is not looped', async () => {
    const { kiln, api, good } = given()
    const before = await seen(api, 'prod')
    const { address, epoch } = await eventually('dev is settled', 60, async () => {
      const now = await seen(api, 'dev')
      return now.open === null && now.running.length === 1 ? now : undefined
    })

    const { alarm, hit } = await crashUntilAlarm(api, String(address))
    expect(alarm).toMatchObject({ cause: 'stopped' })
    const made = (await changesOf(kiln, 'hello/dev')).filter(
      ([change]) => change !== undefined && change.body.epoch > epoch,
    )
    expect(made.map(([change, outcome]) => [change?.body, outcome?.body])).toMatchObject(
      Array.from({ length: 3 }, () => [
        { changeKind: 'replacement', requestedBy: 'kiln' },
        { outcome: 'active' },
      ]),
    )

    // Looking again starts nothing more, and says nothing twice.
    expect((await here(kiln, 'scan', 'dev')).exitCode).toBe(8)
    const left = (await containersOf(kiln)).filter((one) => one.environment === 'hello/dev')
    expect(left).toMatchObject([{ id: hit, state: 'exited' }])
    expect((await seen(api, 'dev')).epoch).toBe(epoch + 3)
    await alarmIsSaid(kiln)
    expect((await seen(api, 'prod')).running).toEqual(before.running)

    const back = await work(kiln, 'rollback', 'dev', '--to', good, '--reason', 'it crashes')
    expect(back).toMatchObject({ exitCode: 0, operation: { state: 'succeeded' } })
    expect(await seen(api, 'dev')).toMatchObject({ alarm: null, active: { digest: good } })
    expect((await here(kiln, 'scan', 'dev')).exitCode).toBe(0)
  }, 240_000)
}
