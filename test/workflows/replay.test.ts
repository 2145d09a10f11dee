import { DeterminismViolationError } from '@temporalio/workflow'
import { bundleWorkflowCode, Worker } from '@temporalio/worker'
import {
  cpSync,
  globSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { workflowBundle } from '../../src/main/workflow-bundle.ts'
import { readHistory } from '../helpers/history-file.ts'
import { silentRuntime } from '../helpers/temporal-runtime.ts'

const root = join(import.meta.dirname, '../..')
const folder = join(root, 'test/histories')
const files = globSync('*/*.json', { cwd: folder }).toSorted()
silentRuntime()

function historyOf(file: string) {
  return readHistory(join(folder, file))
}

/** What the histories do with a bundle: their names, each with the error that it ended with. */
async function replay(codePath: string, names: readonly string[]) {
  const results: { name: string; error: unknown }[] = []
  const histories = names.map((name) => ({ workflowId: name, history: historyOf(name) }))
  const replayed = Worker.runReplayHistories({ workflowBundle: { codePath } }, histories)
  for await (const { workflowId: name, error } of replayed) results.push({ name, error })
  return results
}

/** A bundle of the workflows' code with one change. */
async function changedBundle(file: string, change: (text: string) => string): Promise<string> {
  const copy = mkdtempSync(join(tmpdir(), 'kiln-replay-'))
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }))
  cpSync(join(root, 'workflows'), join(copy, 'workflows'), { recursive: true })
  cpSync(join(root, 'src/domain'), join(copy, 'src/domain'), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  const before = readFileSync(join(copy, 'workflows', file), 'utf8')
  const after = change(before)
  expect(after).not.toBe(before)
  writeFileSync(join(copy, 'workflows', file), after)
  const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
  const workflowsPath = join(copy, 'workflows/index.ts')
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: quiet })
  writeFileSync(join(copy, 'bundle.js'), code)
  return join(copy, 'bundle.js')
}

test('there is a history of each workflow', () => {
  const recorded = files.map((file) => {
    const [start] = historyOf(file).events ?? []
    return String(start?.workflowExecutionStartedEventAttributes?.workflowType?.name)
  })
  expect([...new Set(recorded)].toSorted()).toEqual([
    'buildArtifact',
    'deliverCommit',
    'environment',
    'rebuildArtifact',
    'watchRepository',
  ])
})

test('the workflows of now replay every recorded history', async () => {
  const results = await replay(await workflowBundle(join(root, '.cache')), files)
  expect(results.filter(({ error }) => error !== undefined)).toEqual([])
  expect(results).toHaveLength(files.length)
})

test.each([
  {
    what: 'a build that seals instead of publishing first',
    file: 'build-artifact.ts',
    history: 'build.json',
    change: (text: string) => text.replace('control.publishArtifact', 'control.sealArtifact'),
  },
  {
    what: 'a change that drains before the new instances are ready',
    file: 'change.ts',
    history: 'environment-prod.json',
    change: (text: string) => text.replace('host.waitReady(', 'host.leaveEdge('),
  },
  {
    what: 'a delivery that reads heads instead of its commit',
    file: 'deliver-commit.ts',
    history: 'delivery.json',
    change: (text: string) => text.replace('builder.resolveSource', 'builder.readHeads'),
  },
])('$what does not replay', async ({ file, history, change }) => {
  const names = files.filter((name) => name.endsWith(`/${history}`))
  const results = await replay(await changedBundle(file, change), names)
  expect(results.map(({ error }) => error instanceof DeterminismViolationError)).toEqual(
    names.map(() => true),
  )
})
