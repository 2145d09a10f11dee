import { afterEach, beforeEach, expect, test } from 'vitest'
import { memoryPorts, startTestApi } from '../helpers/api-ports.ts'
import { kilnHere } from '../helpers/cli.ts'

let api: Awaited<ReturnType<typeof startTestApi>>

beforeEach(async () => {
  api = await startTestApi(memoryPorts())
})
afterEach(() => api.app.close())

const arn = 'arn:aws:kms:eu-central-1:123456789012:key/0b1c2d3e-0000-4000-8000-000000000000'

test('signing keys are listed with the place of their private half', async () => {
  const { code, stdout } = await kilnHere(['signing', 'list'], { connection: api })
  expect(code).toBe(0)
  expect(stdout).toMatch(/^promote\tsha256:[0-9a-f]{64}\t0\t-\tfile\n$/)
})

test('a key in KMS follows by its ARN, without one a file does', async () => {
  const rotate = ['signing', 'rotate', 'promote', '--json']
  const moved = await kilnHere([...rotate, '--kms', arn], { connection: api })
  expect(JSON.parse(moved.stdout)).toMatchObject({ items: [{ place: { kind: 'kms', arn } }] })
  const back = await kilnHere(rotate, { connection: api })
  expect(JSON.parse(back.stdout)).toMatchObject({ items: [{ place: { kind: 'file' } }] })
})

test.each([
  ['an alias', 'arn:aws:kms:eu-central-1:123456789012:alias/kiln'],
  ['an id', '0b1c2d3e-0000-4000-8000-000000000000'],
  ['an ARN of something else', 'arn:aws:s3:::bucket'],
  ['nothing', ''],
])('%s names no key in KMS, and says what does', async (_what, kms) => {
  const command = ['signing', 'rotate', 'promote', '--kms', kms]
  const { code, stderr } = await kilnHere(command, { connection: api })
  expect([code, stderr]).toEqual([2, expect.stringContaining('write the ARN of the key itself')])
})
