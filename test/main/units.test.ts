import { accessSync, constants, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { writeTrust } from '../../signing/trust-files.ts'
import { loadConfig } from '../../src/main/config.ts'
import { givenFolder } from '../../src/main/host-secrets.ts'
import { processesOf } from '../../src/main/processes.ts'
import { settings } from '../../src/main/settings.ts'
import { homeAtHand, passphrase, scratch } from './backup-at-hand.ts'

/** What deploy/ tells systemd, compared with the code that it starts. Real boots: docs/recovery.md. */
const root = resolve(import.meta.dirname, '../..')
const deploy = join(root, 'deploy')
const textOf = (name: string) => readFileSync(join(deploy, name), 'utf8')
const here = (text: string) => text.replaceAll('/opt/kiln', root)

const units = readdirSync(deploy).filter((name) => /\.(service|timer)$/.test(name))

test.each(units)('systemd finds nothing wrong in %s', async (name) => {
  // The programs stand where they are installed: here they are the ones of this tree.
  const folder = scratch()
  for (const one of readdirSync(deploy)) writeFileSync(join(folder, one), here(textOf(one)))
  const args = ['verify', '--man=no', '--recursive-errors=no', join(folder, name)]
  const { exitCode, stderr } = await execa('systemd-analyze', args, { reject: false })
  expect(stderr).toBe('')
  expect(exitCode).toBe(0)
})

/** Every value of a directive, in the order of the file. */
function unit(name: string) {
  const lines = [...textOf(name).matchAll(/^([A-Za-z]+)=(.*)$/gm)]
  return (directive: string) =>
    lines.flatMap(([, key, value]) => (key === directive ? [value ?? ''] : []))
}

/** Lines `NAME=value` of a file of settings; those that wait behind a `#` with them, when asked for. */
function variables(text: string, { proposed = false } = {}): Record<string, string> {
  const form = proposed ? /^(?:# )?([A-Z][A-Z0-9_]*)=(\S*)$/gm : /^([A-Z][A-Z0-9_]*)=(\S*)$/gm
  return Object.fromEntries([...text.matchAll(form)].map(([, name, value]) => [name, value]))
}

const own = unit('kiln.service')
const ownSettings = {
  ...variables(own('Environment').join('\n')),
  ...variables(textOf('kiln.env')),
}

test.each(units.filter((name) => name.endsWith('.service')))('%s starts what is there', (name) => {
  const [line = '', ...more] = unit(name)('ExecStart')
  expect(more).toEqual([])
  expect(() => accessSync(here(line.split(' ')[0] ?? ''), constants.X_OK)).not.toThrow()
})

describe('kiln.service', () => {
  test('starts after what it needs, and again whatever ends it', () => {
    // The supervisor says nothing to systemd and does not go into the background.
    expect(own('Type')).toEqual(['exec'])
    expect(own('Restart')).toEqual(['always'])
    expect(own('StartLimitIntervalSec')).toEqual(['0'])
    const after = own('After').join(' ').split(' ')
    expect(after).toEqual(expect.arrayContaining(['docker.service', 'network-online.target']))
    // Wanted and not required: instances live through a restart of the engine, and so does Kiln.
    expect(own('Wants').join(' ').split(' ')).toContain('docker.service')
    expect([...own('Requires'), ...own('BindsTo'), ...own('PartOf')]).toEqual([])
    expect(own('WantedBy')).toEqual(['multi-user.target'])
  })

  test('gives the processes the time that they are given to end, one after the other', () => {
    const processes = processesOf(loadConfig(ownSettings, '/'), {})
    const graceMs = processes.reduce((sum, one) => sum + one.graceMs, 0)
    expect(processes.length).toBeGreaterThan(5)
    expect(Number(own('TimeoutStopSec')[0]) * 1000).toBeGreaterThan(graceMs)
    // SIGTERM to the supervisor alone: it ends the others in order.
    expect(own('KillMode')).toEqual(['mixed'])
  })

  test('may write where Kiln writes, and what instances read outlives a restart', () => {
    const config = loadConfig(ownSettings, '/')
    const state = own('StateDirectory').map((name) => `/var/lib/${name}`)
    const run = own('RuntimeDirectory').map((name) => `/run/${name}`)
    expect(own('ProtectSystem')).toEqual(['strict'])
    expect(own('ReadWritePaths')).toEqual([config.home])
    expect([state, own('WorkingDirectory')]).toEqual([[config.home], [config.home]])
    expect(run).toEqual([config.secrets.memory])
    expect(givenFolder(config).startsWith(`${run[0]}/`)).toBe(true)
    expect(own('RuntimeDirectoryPreserve')).toEqual(['yes'])
    expect(own('PrivateTmp')).toEqual(['yes'])
  })

  test('has settings that there are, those that the file proposes too', () => {
    const proposed = { ...ownSettings, ...variables(textOf('kiln.env'), { proposed: true }) }
    expect(Object.keys(proposed).length).toBeGreaterThan(6)
    expect(Object.keys(proposed).filter((name) => !Object.hasOwn(settings, name))).toEqual([])
    expect(loadConfig(proposed, '/').store).toMatchObject({ kind: 's3', bucket: 'bucket' })
  })

  test('reads the files that docs/install.md puts there', () => {
    const guide = readFileSync(join(root, 'docs/install.md'), 'utf8')
    const files = [...own('EnvironmentFile'), ...unit('kiln-backup.service')('EnvironmentFile')]
    for (const file of new Set(files)) expect(guide).toContain(file)
    for (const name of units.filter((one) => /^kiln(-backup)?\./.test(one)))
      expect(guide).toContain(`/opt/kiln/deploy/${name}`)
    const backup = unit('kiln-backup.service')
    expect(backup('ExecStart')[0]).toContain('/etc/kiln/backup.passphrase')
    expect(guide).toContain('/etc/kiln/backup.passphrase')
    expect(backup('ConditionPathIsDirectory')).toEqual([ownSettings['KILN_HOME']])
  })
})

test('the line of kiln-backup.service makes a backup', async () => {
  const { paths, input } = await homeAtHand()
  await writeTrust(paths.trust, input.trust)
  const words = join(scratch(), 'words')
  writeFileSync(words, `${passphrase}\n`, { mode: 0o600 })
  mkdirSync(input.folder)
  const [line = ''] = unit('kiln-backup.service')('ExecStart')
  const [program = '', ...args] = here(line)
    .replace('/etc/kiln/backup.passphrase', words)
    .replace('${KILN_BACKUP_FOLDER}', input.folder)
    .split(' ')
  const env = { PATH: '/usr/bin:/bin', HOME: scratch(), KILN_HOME: paths.home }
  await execa(program, args, { env, extendEnv: false, stdin: 'ignore' })
  expect(JSON.parse(readFileSync(join(input.folder, 'backup.json'), 'utf8'))).toMatchObject({
    checkpoint: { size: 3 },
    keys: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
  })
  expect(unit('kiln-backup.timer')('OnCalendar')).toEqual(['hourly'])
})
