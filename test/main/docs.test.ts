import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { expect, test } from 'vitest'

// What the guides name is there: a row of the threat model stands on the test that it names.

const root = resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const guides = ['docs', 'docs/adr'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
)
const all = ['README.md', ...guides]

/** `test/…` between backquotes, without what a guide says of it (a glob, a form of a name). */
function namedTests(text: string): string[] {
  return [...text.matchAll(/`(test\/[\w./-]+)`/g)].map(([, path = '']) => path)
}

test.each(all)('every test that %s names is there', (guide) => {
  expect(namedTests(read(guide)).filter((path) => !existsSync(join(root, path)))).toEqual([])
})

test.each(all)('every file that %s links to is there', (guide) => {
  const links = [...read(guide).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, to = '']) => to)
  const local = links.filter((to) => !/^[a-z]+:/.test(to))
  expect(local.filter((to) => !existsSync(join(root, dirname(guide), to)))).toEqual([])
})

test('each row of the threat model names a test that is there, or says what is left open', () => {
  const rows = read('docs/threat-model.md')
    .split('\n')
    .filter((line) => /^\| \d+ \|/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
  expect(rows.map(([, number]) => Number(number))).toEqual(rows.map((_, at) => at + 1))
  // The table that the project began with has 29.
  expect(rows.length).toBeGreaterThanOrEqual(29)
  for (const row of rows) {
    expect(row).toHaveLength(7)
    const [, number, threat = '', does = '', shown = '', open = ''] = row
    expect({ number, filled: threat !== '' && does !== '' }).toEqual({ number, filled: true })
    const there = namedTests(shown).filter((path) => existsSync(join(root, path)))
    const isHonest = there.length > 0 || /open|yet/.test(open)
    expect({ number, isHonest }).toEqual({ number, isHonest: true })
  }
})
