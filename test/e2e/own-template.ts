import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf } from '../../signing/canonical.ts'
import { parseLock, renderLock, type ContainerLock } from '../../src/template/lock-file.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'

type Changes = {
  /** From node-service's Dockerfile, line by line, to the one of this template; its lock names it. */
  dockerfile?: (lines: readonly string[]) => readonly string[]
  /** What somebody does to the lock afterwards, by hand. */
  lock?: (lock: ContainerLock) => ContainerLock
}

/** A template of one Kiln's own: node-service under another name, with another Dockerfile or lock. */
export async function ownTemplate(
  kiln: KilnAtHand,
  name: string,
  { dockerfile = (lines) => lines, lock = (same) => same }: Changes,
): Promise<string> {
  const folder = join(kiln.folder, 'templates', name)
  await cp(join(kiln.folder, 'templates/node-service'), folder, { recursive: true })
  const text = dockerfile((await readFile(join(folder, 'Dockerfile'), 'utf8')).split('\n')).join(
    '\n',
  )
  await writeFile(join(folder, 'Dockerfile'), text)
  const locked = parseLock(await readFile(join(folder, 'template.lock'), 'utf8'))
  if (locked.kind !== 'container') throw new Error('node-service is a container template')
  const renewed = lock({ ...locked, dockerfile: digestOf(Buffer.from(text)) })
  await writeFile(join(folder, 'template.lock'), renderLock(renewed))
  return name
}

/** Puts a line before the one that begins so. */
export function insertBefore(beginning: string, line: string) {
  return (lines: readonly string[]) =>
    lines.flatMap((one) => (one.startsWith(beginning) ? [line, one] : [one]))
}
