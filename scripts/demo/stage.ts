import { execa } from 'execa'
import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { kilnAt, root, type Kiln } from './kiln.ts'

/** What is locked here outlives the homes of scripts, so that a second run locks nothing anew. */
const authoring = join(root, '.cache/demo')

export const lockedTemplates = join(authoring, 'templates')

/** Mirrors move on and drop old versions: the templates are locked on this machine, as authoring does. */
export async function lockTemplates(): Promise<void> {
  const author = kilnAt(join(authoring, 'home'), { KILN_TEMPLATES: lockedTemplates })
  for (const name of ['debian-base', 'node-service']) {
    const target = join(lockedTemplates, name)
    await mkdir(target, { recursive: true })
    await cp(join(root, 'templates', name), target, {
      recursive: true,
      filter: (path) => !path.endsWith('template.lock'),
    })
    await author.cli('template', 'lock', name)
  }
}

/** A new home whose store holds what was locked. Stored objects never change: they are shared by hard links. */
export async function makeHome(home: string): Promise<void> {
  await mkdir(home, { recursive: true })
  await execa('cp', ['-al', join(authoring, 'home/store'), join(home, 'store')])
}

/** Ends a Kiln that still runs, and removes what it left in the engine under its host's name. */
export async function endAll(kiln: Kiln, host: string): Promise<void> {
  await kiln.cli('down')
  const label = ['--filter', `label=kiln.host=${host}`]
  const { stdout: containers } = await execa('docker', ['ps', '-aq', ...label])
  if (containers !== '') await execa('docker', ['rm', '-f', ...containers.split('\n')])
  const { stdout: networks } = await execa('docker', ['network', 'ls', '-q', ...label])
  if (networks !== '') await execa('docker', ['network', 'rm', ...networks.split('\n')])
}
