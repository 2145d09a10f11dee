import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root: string = fileURLToPath(new URL('../..', import.meta.url))

async function sources(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
}

/** The SHA-256 over everything that the workflows are made of: their code, the domain's, and the SDK's version. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256')
  const files = [
    ...(await sources(join(root, 'workflows'))),
    ...(await sources(join(root, 'src/domain'))),
  ]
  for (const file of [...files, join(root, 'package-lock.json')]) {
    hash
      .update(file.slice(root.length))
      .update('\0')
      .update(await readFile(file))
      .update('\0')
  }
  return hash.digest('hex')
}

/** What set-up compiled. Kiln's own image brings it: where that runs there is no place that the bundler could work in. */
export const dist: string = join(root, 'dist')

function complain(message: string): void {
  process.stderr.write(`${message}\n`)
}

/** Where the bundle of today's code is, or undefined where it must be made first. */
export async function bundleMade(folder: string): Promise<string | undefined> {
  const name = await bundleName()
  for (const path of [join(dist, name), join(folder, name)])
    if ((await stat(path).catch(() => undefined)) !== undefined) return path
  return undefined
}

async function bundleName(): Promise<string> {
  return `workflows-${(await fingerprint()).slice(0, 24)}.js`
}

/**
 * The workflow bundle's path, made when it is missing. The bundler takes some 200 MB, so `kiln up` runs
 * this in a process of its own and the server only reads the file.
 */
export async function workflowBundle(folder: string): Promise<string> {
  const made = await bundleMade(folder)
  if (made !== undefined) return made
  const path = join(folder, await bundleName())
  const { bundleWorkflowCode } = await import('@temporalio/worker')
  const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {} }
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(root, 'workflows/index.ts'),
    logger: { ...quiet, error: complain },
  })
  await mkdir(folder, { recursive: true })
  await writeFile(`${path}.${process.pid}`, code)
  await rename(`${path}.${process.pid}`, path)
  return path
}
