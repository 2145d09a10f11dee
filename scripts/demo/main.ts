import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Client } from '../../src/api/client.ts'
import { shortDigest, type Digest } from '../../src/domain/digest.ts'
import { eventually, followed, kilnAt, root } from './kiln.ts'
import { changeGreeting, makeRepository } from './repository.ts'

/**
 * The whole loop on real parts: a commit becomes a signed artifact, reaches production by replacement
 * under load, and comes back. Exits with 1 if anything of it did not hold.
 */

const keep = process.argv.includes('--keep')
const home = join(root, '.kiln-demo')
const repositoryPath = join(home, 'repository')
const templates = join(root, '.cache/demo/templates')
const kiln = kilnAt(home, {
  KILN_API_PORT: '7600',
  KILN_REPOSITORIES: repositoryPath,
  KILN_TEMPLATES: templates,
})
const started = Date.now()
const times: [string, number][] = []

function say(line: string): void {
  process.stdout.write(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}\n`)
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const begin = Date.now()
  const result = await work()
  times.push([what, Date.now() - begin])
  return result
}
