import { mkdir, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import { dist, root, workflowBundle } from './workflow-bundle.ts'

// Set-up runs this: Kiln's programs become a few files each, which start in half the time, and the workflows
// their bundle. `scripts/env.sh` takes them for as long as nothing was edited since; see
// docs/adr/0012-set-up-compiles-the-programs.md.

/** What Node is started with, by bin/, the supervisor or another program. */
const programs = [
  'main/cli',
  'main/supervise',
  'main/server',
  'main/build',
  'main/host',
  'main/signer',
  'main/bundle-workflows',
  'ledger/index-init',
]

/** Packages that look for files of their own beside their code; and one that another can do without. */
const external = [/^@temporalio\//, /^@electric-sql\//, 'dockerode', 'xmlbuilder2']

/** A program of before that still runs may load a part of it late: what is no longer made is left this long. */
const keptMs = 30 * 24 * 60 * 60 * 1000

async function compile(): Promise<void> {
  const begun = new Date()
  const folder = join(dist, 'kiln')
  await mkdir(folder, { recursive: true })
  const compiled = await rolldown({
    input: programs.map((name) => join(root, 'src', `${name}.ts`)),
    platform: 'node',
    external,
    onLog(_level, log) {
      throw new Error(log.message)
    },
  })
  const { output } = await compiled.generate({ format: 'esm' })
  // A program comes after the parts that it imports, and never half: one may be started meanwhile.
  for (const one of output.toSorted((a, b) => rank(a) - rank(b))) {
    const content = one.type === 'chunk' ? one.code : one.source
    const path = join(folder, one.fileName)
    await writeFile(`${path}.new`, content)
    await rename(`${path}.new`, path)
  }
  await workflowBundle(dist)
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    if (begun.getTime() - (await stat(path)).mtimeMs > keptMs) await rm(path)
  }
  // Whatever is edited from the beginning on is newer than this.
  const made = join(dist, 'made')
  await writeFile(`${made}.new`, '')
  await utimes(`${made}.new`, begun, begun)
  await rename(`${made}.new`, made)
}

function rank(one: { type: 'asset' } | { type: 'chunk'; isEntry: boolean }): number {
  return one.type === 'chunk' && one.isEntry ? 1 : 0
}

await compile()
