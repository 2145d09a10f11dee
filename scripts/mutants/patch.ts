import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'

/** A patch that takes one protection out, and the test that must notice. docs/testing.md describes the file. */
export type Mutant = {
  /** The file's name without `.patch`. */
  name: string
  /** The patch's path. */
  path: string
  /** The promise of the design that the protection keeps. */
  promise: string
  /** What the patch takes out, in words. */
  what: string
  /** The test file, from the repository's root. */
  test: string
  /** The test's full name (its describe blocks before it), or a part of it. */
  testName: string
  /** What the failure must show: a part of its message, or of the line of the test that failed. */
  failsAt: string
}

export const mutantsFolder = 'test/mutants'

const oneLine = z.string('is missing')
const form = z.strictObject({
  promise: oneLine.regex(/^I\d+$/, 'not a promise, such as I1'),
  what: oneLine,
  test: oneLine.regex(/^test\/[\w/-]+\.test\.ts$/, 'not a test file'),
  name: oneLine,
  'fails at': oneLine,
})
const fields = Object.keys(form.shape)
const diffStart = /^(diff --git |--- )/m

/** Every mutant, ordered by name. Throws with all faults of all headers at once. */
export async function readMutants(root: string): Promise<Mutant[]> {
  const names = (await readdir(join(root, mutantsFolder))).filter((name) => name.endsWith('.patch'))
  const faults: string[] = []
  const mutants: Mutant[] = []
  for (const file of names.toSorted()) {
    const path = join(root, mutantsFolder, file)
    const parsed = parseHeader(await readFile(path, 'utf8'))
    if ('faults' in parsed) faults.push(...parsed.faults.map((fault) => `${file}: ${fault}`))
    else mutants.push({ ...parsed.header, name: file.replace(/\.patch$/, ''), path })
  }
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return mutants
}

type Header = Omit<Mutant, 'name' | 'path'>

/** What stands before the diff: each field once, on one line, and nothing else. */
export function parseHeader(text: string): { header: Header } | { faults: string[] } {
  const start = text.search(diffStart)
  if (start === -1) return { faults: ['no diff in it'] }
  const lines = text
    .slice(0, start)
    .split('\n')
    .filter((line) => line.trim() !== '')
  const rows = lines.map((line) => fieldOf(line) ?? line)
  const parsed = form.safeParse(Object.fromEntries(rows.filter((row) => typeof row !== 'string')))
  const strange = rows.filter((row) => typeof row === 'string')
  const faults = [
    ...strange.map((line) => `not a line of a header: ${JSON.stringify(line)}`),
    ...(rows.length - strange.length > fields.length ? ['a field stands twice'] : []),
    ...(parsed.error?.issues.map(({ path, message }) => `«${path.join()}»: ${message}`) ?? []),
  ]
  if (!parsed.success || faults.length > 0) return { faults }
  const { promise, what, test, name, 'fails at': failsAt } = parsed.data
  return { header: { promise, what, test, testName: name, failsAt } }
}

function fieldOf(line: string): [string, string] | null {
  const [, field = '', value = ''] = /^([a-z ]+): (.*\S)\s*$/.exec(line) ?? []
  return fields.includes(field) ? [field, value] : null
}
