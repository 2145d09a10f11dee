import { expect, test } from 'vitest'
import { createStepLog, placeInDockerfile, wantedNetwork } from '../../src/build/step-log.ts'

test('lines come whole, without terminal codes and overwritten progress', () => {
  const said: string[] = []
  const log = createStepLog((line) => said.push(line))
  log.write('Step 1/2 : FROM ba')
  log.write('se\n\u001b[31mred\u001b[0m\r\n10%\r100%\nlast\u0007')
  expect(said).toEqual(['Step 1/2 : FROM base', 'red', '100%'])
  log.end()
  expect(said.at(-1)).toBe('last')
  expect(log.instruction()).toBe('FROM base')
})

test('keeps the last twenty lines and cuts endless ones', () => {
  const log = createStepLog(() => undefined)
  for (let line = 1; line <= 25; line++) log.write(`${line}\n`)
  expect(log.last()).toEqual(Array.from({ length: 20 }, (_none, at) => String(at + 6)))
  log.write(`${'x'.repeat(100_000)}\n`)
  expect(log.last().at(-1)?.length).toBeLessThanOrEqual(4000)
})

test('the last lines are those of the step, without what the engine says of itself', () => {
  const said: string[] = []
  const log = createStepLog((line) => said.push(line))
  const housekeeping = [
    ' ---> Running in 5f50fc34cb01',
    ' ---> 859882bd133a',
    'Removing intermediate container 5f50fc34cb01',
  ]
  log.write(['Step 2/2 : RUN false', ...housekeeping, 'what the step said', ''].join('\n'))
  expect(log.last()).toEqual(['Step 2/2 : RUN false', 'what the step said'])
  expect(said).toEqual(expect.arrayContaining(housekeeping))
})

test('what no log may hold is taken out of each line', () => {
  const said: string[] = []
  const log = createStepLog(
    (line) => said.push(line),
    (line) => line.replaceAll('secret', '***'),
  )
  log.write('a sec')
  log.write('ret\n')
  expect(said).toEqual(['a ***'])
  expect(log.last()).toEqual(['a ***'])
})

test('an instruction is found in the Dockerfile that people wrote', () => {
  const dockerfile = 'FROM base\n# RUN no\nRUN npm test \\\n  && true\nRUN npm run build\n'
  expect(placeInDockerfile(dockerfile, 'RUN npm test   && true')).toBe('Dockerfile:3 RUN')
  expect(placeInDockerfile(dockerfile, 'RUN npm run build')).toBe('Dockerfile:5 RUN')
  expect(placeInDockerfile(dockerfile, 'COPY a b')).toBe('Dockerfile COPY a b')
  expect(placeInDockerfile(dockerfile, undefined)).toBe('Dockerfile')
})

test.each([
  'curl: (6) Could not resolve host: example.test',
  'npm error code EAI_AGAIN',
  'Error: getaddrinfo ENOTFOUND registry.test',
  "Temporary failure resolving 'deb.test'",
  'wget: unable to resolve host address',
  'connect: Network is unreachable',
])('%s: it wanted a network', (line) => {
  expect(wantedNetwork([line])).toBe(true)
})

test('other failures are no network failures', () => {
  expect(wantedNetwork(['assertion failed', 'not found: network.js'])).toBe(false)
})
