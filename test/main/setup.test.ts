import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'

const root = resolve(import.meta.dirname, '../..')

/** A folder with copies of some of the repository's files, and others as given. */
function makeTree(copies: readonly string[], files: Readonly<Record<string, string>> = {}): string {
  const tree = mkdtempSync(join(tmpdir(), 'kiln-setup-'))
  onTestFinished(() => rm(tree, { recursive: true, force: true }))
  for (const path of copies) cpSync(join(root, path), join(tree, path), { recursive: true })
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true })
    writeFileSync(join(tree, path), text, { mode: 0o755 })
  }
  return tree
}

const here = { os: [process.platform], cpu: [process.arch] }
const elsewhere = { os: ['aix'], cpu: ['ppc64'] }
const one = { version: '1.0.0', integrity: 'sha512-one' }
const two = { version: '2.0.0', integrity: 'sha512-two' }
const locked = { '': {}, 'node_modules/a': one }

test.each([
  ['what is locked is installed', locked, { 'node_modules/a': one }, 0],
  ['another content is installed', locked, { 'node_modules/a': two }, 1],
  ['something is not installed', locked, {}, 1],
  ['more is installed', locked, { 'node_modules/a': one, 'node_modules/b': two }, 1],
  ['nothing was installed, or not to its end', locked, undefined, 1],
  [
    'another platform’s optional package is absent',
    { 'node_modules/a': { ...one, ...elsewhere, optional: true } },
    {},
    0,
  ],
  [
    'this platform’s optional package is absent',
    { 'node_modules/a': { ...one, ...here, optional: true } },
    {},
    1,
  ],
])('npm ci is asked for by the facts: %s', async (...row) => {
  const [, lock, installed, code] = row
  const tree = makeTree([], { 'package-lock.json': JSON.stringify({ packages: lock }) })
  if (installed !== undefined) {
    mkdirSync(join(tree, 'node_modules'))
    const record = JSON.stringify({ packages: installed })
    writeFileSync(join(tree, 'node_modules/.package-lock.json'), record)
  }
  const script = join(root, 'scripts/setup/packages-match.mjs')
  const env = { KILN_SETUP_ROOT: tree }
  const { exitCode } = await execa(process.execPath, [script], { env, reject: false })
  expect(exitCode).toBe(code)
})

test('who is not root is told the exact line, and nothing is installed', async () => {
  const script = `
    stop() { echo "$1"; echo "$2"; exit 3; }
    id() { echo 1000; }
    add() { echo adding; }
    . scripts/setup/debian.sh
    debian_missing() { echo haproxy; echo mmdebstrap; }
    install_debian_packages() { echo installed; }
    ensure_debian_packages kiln`
  const { stdout, exitCode } = await execa('sh', ['-c', script], { cwd: root, reject: false })
  expect(exitCode).toBe(3)
  expect(stdout.split('\n')).toEqual([
    'missing Debian packages: haproxy mmdebstrap',
    "sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends haproxy mmdebstrap'",
  ])
})

test('an unknown argument of set-up is refused', async () => {
  const { exitCode } = await execa('sh', ['scripts/setup.sh', '--fro', 'test'], {
    cwd: root,
    reject: false,
  })
  expect(exitCode).toBe(2)
})

const ok = '#!/bin/sh\nexit 0\n'
const bad = '#!/bin/sh\nexit 1\n'
const vitest = (counts: string, code: number) =>
  `#!/bin/sh\n${counts === '' ? '' : `echo ${counts} >"$KILN_TEST_SUMMARY"`}\nexit ${code}\n`

test.each([
  ['all is well', ok, ok, vitest('5 0', 0), '5 passed, 0 failed', 0],
  ['a test failed', ok, ok, vitest('4 1', 1), '4 passed, 1 failed', 1],
  ['a check failed', ok, bad, vitest('5 0', 0), '5 passed, 1 failed', 1],
  ['set-up failed', bad, ok, vitest('5 0', 0), '0 passed, 1 failed', 1],
  ['vitest broke down', ok, ok, vitest('', 1), '0 passed, 1 failed', 1],
  ['vitest failed without a failed test', ok, ok, vitest('5 0', 1), '5 passed, 1 failed', 1],
])('the closing line of npm test when %s', async (...row) => {
  const [, setup, check, runner, line, code] = row
  const tree = makeTree(['scripts/test.sh', 'scripts/env.sh'], {
    'scripts/setup.sh': setup,
    'scripts/check.sh': check,
    'node_modules/.bin/vitest': runner,
    '.cache/keep': '',
  })
  const { stdout, exitCode } = await execa('sh', ['scripts/test.sh'], { cwd: tree, reject: false })
  expect(stdout.split('\n').at(-1)).toBe(line)
  expect(exitCode).toBe(code)
})

test('kiln runs through a link, and says what to do before set-up', async () => {
  const cli = 'console.log(process.argv.slice(2).join("+"))\n'
  const tree = makeTree(['bin/kiln', 'scripts/env.sh'], { 'src/main/cli.ts': cli })
  const link = join(tree, 'link')
  symlinkSync(join(tree, 'bin/kiln'), link)
  const before = await execa(link, ['up'], { reject: false })
  expect(before.exitCode).toBe(3)
  expect(before.stderr).toContain(`fix: sh ${tree}/scripts/setup.sh`)
  mkdirSync(join(tree, 'node_modules'))
  const env = { PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` }
  const after = await execa(link, ['up', 'a b'], { env, cwd: '/' })
  expect(after.stdout).toBe('up+a b')
})

/** Long ago, in order. */
const before = new Date('2026-01-01T00:00:00Z')
const after = new Date('2026-01-01T00:00:01Z')

test.each([
  ['nothing was edited since', {}, 'compiled'],
  ['a source was edited', { 'src/main/cli.ts': after }, 'source'],
  ['a file was added or removed', { 'src/main': after }, 'source'],
  ['the domain of signing was edited', { 'signing/value.ts': after }, 'source'],
  ['a workflow was edited', { 'workflows/index.ts': after }, 'source'],
  ['packages were changed', { 'package-lock.json': after }, 'source'],
  ['a folder is missing', { workflows: null }, 'source'],
  ['nothing was compiled to its end', { 'dist/made': null }, 'source'],
] satisfies [string, Record<string, Date | null>, string][])(
  'what kiln runs when %s',
  async (_, changed, says) => {
    const tree = makeTree(['bin/kiln', 'scripts/env.sh'], {
      'src/main/cli.ts': 'console.log("source")\n',
      'dist/kiln/cli.js': 'console.log("compiled")\n',
      'dist/made': '',
      'signing/value.ts': '',
      'workflows/index.ts': '',
      'package.json': '{"type":"module"}\n',
      'package-lock.json': '',
      'node_modules/keep': '',
    })
    for (const name of readdirSync(tree, { recursive: true, encoding: 'utf8' }))
      utimesSync(join(tree, name), before, before)
    for (const [name, time] of Object.entries(changed)) {
      if (time === null) rmSync(join(tree, name), { recursive: true })
      else utimesSync(join(tree, name), time, time)
    }
    const env = { PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` }
    const { stdout } = await execa(join(tree, 'bin/kiln'), [], { env, cwd: '/' })
    expect(stdout).toBe(says)
  },
)
