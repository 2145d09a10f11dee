import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '../..')
const tree = mkdtempSync(join(tmpdir(), 'kiln-rules-'))

const value = 'export const value = 1\n'
const type = 'export type T = 1\n'
const using = (from: string) => `import { value } from '${from}'\nexport const other = value\n`
const usingType = (from: string) => `import type { T } from '${from}'\nexport type U = T\n`
const loading = (from: string) => `export const load = () => import('${from}')\n`

/** What each rule forbids: the file that breaks it, and its text. */
const broken: readonly (readonly [rule: string, file: string, text: string])[] = [
  ['domain-imports-nothing', 'src/domain/node.ts', "export { join } from 'node:path'\n"],
  ['domain-imports-nothing', 'src/domain/npm.ts', "export { z } from 'zod'\n"],
  ['domain-imports-nothing', 'src/domain/own.ts', using('../oci/value.ts')],
  ['signing-reads-alone', 'signing/leaf.ts', using('../src/oci/value.ts')],
  ['leaves-stay-leaves', 'src/store/room.ts', using('../ledger/value.ts')],
  ['rooms-do-not-import-each-other', 'src/build/room.ts', using('../ledger/value.ts')],
  ['rooms-do-not-import-each-other', 'src/build/type.ts', usingType('../ledger/type.ts')],
  ['clients-see-only-the-contract', 'src/cli/room.ts', using('../ledger/value.ts')],
  ['clients-see-only-the-contract', 'src/dashboard/api.ts', using('../api/server.ts')],
  ['the-contract-stays-thin', 'src/api/views.ts', using('./server.ts')],
  ['local-verbs-are-loaded-late', 'src/cli/main.ts', using('../main/local.ts')],
  ['only-the-entry-loads-local-verbs', 'src/cli/verbs/up.ts', loading('../../main/local.ts')],
  ['workflows-import-rooms-as-types', 'workflows/room.ts', using('../src/ledger/value.ts')],
  ['workflows-stay-deterministic', 'workflows/node.ts', "export { readFile } from 'node:fs'\n"],
  ['nobody-imports-main', 'workflows/main.ts', usingType('../src/main/type.ts')],
  ['products-do-not-import-tests', 'src/main/helper.ts', using('../../test/value.ts')],
  [
    'the-checker-shares-nothing',
    'scripts/chaos/checker/log.ts',
    using('../../../signing/value.ts'),
  ],
  [
    'the-checker-shares-nothing',
    'scripts/chaos/checker/type.ts',
    usingType('../../../src/ledger/type.ts'),
  ],
  ['no-cycles', 'src/edge/one.ts', using('./two.ts')],
  ['nothing-unresolvable', 'src/edge/lost.ts', using('./gone.ts')],
]

/** What the design allows, and what the files above need. */
const allowed: Readonly<Record<string, string>> = {
  'src/domain/value.ts': value,
  'src/domain/pure.ts': using('./value.ts'),
  'src/oci/value.ts': `export { value } from '../domain/value.ts'\n${type}`,
  'src/store/leaf.ts': using('../oci/value.ts'),
  'src/ledger/value.ts': value,
  'src/ledger/type.ts': type,
  'src/ledger/signed.ts': using('../../signing/value.ts'),
  'src/ledger/leaf.ts': usingType('../oci/value.ts'),
  'signing/value.ts': value,
  'signing/domain.ts': using('../src/domain/value.ts'),
  // Half of a circle, which is reported at its other half.
  'src/edge/two.ts': "import { other } from './one.ts'\nexport const value = other\n",
  'src/api/server.ts': value,
  'src/api/contract.ts': value,
  'src/api/client.ts': using('./contract.ts').replaceAll('other', 'client'),
  'src/cli/contract.ts': using('../api/contract.ts'),
  'src/cli/client.ts': "export { client } from '../api/client.ts'\n",
  'src/main/local.ts': "export { value } from '../ledger/value.ts'\n",
  'src/main/type.ts': type,
  'workflows/type.ts': usingType('../src/ledger/type.ts'),
  'test/value.ts': "export { value } from '../src/ledger/value.ts'\n",
}

type Violation = { from: string; rule: { name: string } }
let violations: readonly string[] = []

beforeAll(async () => {
  const files = [
    ...broken.map(([, path, text]) => [path, text] as const),
    ...Object.entries(allowed),
  ]
  for (const [path, text] of files) {
    mkdirSync(dirname(join(tree, path)), { recursive: true })
    writeFileSync(join(tree, path), text)
  }
  symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'))
  symlinkSync(join(root, 'tsconfig.json'), join(tree, 'tsconfig.json'))
  writeFileSync(join(tree, 'package.json'), '{"type":"module"}')
  const args = ['--config', join(root, '.dependency-cruiser.mjs'), '--output-type', 'json']
  const folders = ['src', 'signing', 'workflows', 'test', 'scripts']
  const depcruise = join(root, 'node_modules/.bin/depcruise')
  const { stdout } = await execa(depcruise, [...args, ...folders], { cwd: tree, reject: false })
  const found = JSON.parse(stdout) as { summary: { violations: readonly Violation[] } }
  violations = found.summary.violations.map(({ rule, from }) => `${rule.name}: ${from}`)
})

afterAll(() => rm(tree, { recursive: true, force: true }))

test.each(broken)('%s bites %s', (rule, file) => {
  expect(violations).toContain(`${rule}: ${file}`)
})

test('what the design allows breaks no rule', () => {
  const expected = new Set(broken.map(([, file]) => file))
  expect(violations.filter((line) => !expected.has(line.split(': ')[1] ?? ''))).toEqual([])
})

test('every rule is shown to bite, and says its reason', async () => {
  const path = join(root, '.dependency-cruiser.mjs')
  const { default: config } = (await import(path)) as {
    default: { forbidden: readonly { name: string; comment: string; severity: string }[] }
  }
  expect(config.forbidden.map(({ name }) => name).toSorted()).toEqual(
    [...new Set(broken.map(([rule]) => rule))].toSorted(),
  )
  for (const { comment, severity } of config.forbidden) {
    expect(comment.length).toBeGreaterThan(40)
    expect(severity).toBe('error')
  }
})
