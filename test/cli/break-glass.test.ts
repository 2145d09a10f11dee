import { afterEach, beforeEach, expect, test } from 'vitest'
import { kilnHere } from '../helpers/cli.ts'
import { memoryPorts, startTestApi } from '../helpers/api-ports.ts'

let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>

beforeEach(async () => {
  ports = memoryPorts()
  api = await startTestApi(ports)
})
afterEach(() => api.app.close())

const instance = 'kiln.hello.prod.3.1'
const run = (...args: string[]) => kilnHere(['break-glass', ...args], { connection: api })

test('it asks for a quarter of an hour, and says how to enter and how to end it', async () => {
  const { code, stdout, stderr } = await run(instance, '--reason', 'it hangs')
  expect(code).toBe(0)
  expect(stdout).toMatch(/^kiln\.hello\.prod\.3\.1\t\d{4}-.*Z\n$/)
  expect(stderr).toContain(`docker exec -it ${instance} sh`)
  expect(stderr).toContain(`kiln break-glass ${instance} --end`)
  const json = await run(instance, '--reason', 'it hangs', '--ttl', '4h', '--json')
  expect(JSON.parse(json.stdout)).toMatchObject({ version: 1, environment: 'hello/prod', instance })
  const ended = await run(instance, '--end')
  expect(ended.stderr).toContain('is replaced now')
  expect(ports.state.started.map(({ input }) => input)).toEqual([
    { instance, seconds: 900, reason: 'it hangs' },
    { instance, seconds: 14_400, reason: 'it hangs' },
    { instance, seconds: 0, reason: 'ended' },
  ])
})

test.each([
  [[], 'it needs a reason'],
  [['--reason', ''], 'it needs a reason'],
  [['--reason', 'x', '--ttl', '4h1s'], 'between 1s and 4h'],
  [['--reason', 'x', '--ttl', '0s'], 'between 1s and 4h'],
  [['--reason', 'x', '--ttl', 'long'], '--ttl'],
])('with %j nobody is let in', async (more, said) => {
  const { code, stderr } = await run(instance, ...more)
  expect([code, stderr]).toEqual([2, expect.stringContaining(said)])
  expect(ports.state.started).toEqual([])
})
