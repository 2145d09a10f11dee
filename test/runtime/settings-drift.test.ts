import { expect, test } from 'vitest'
import { containerOptions } from '../../src/runtime/container.ts'
import { settingsDifferences, type Inspected } from '../../src/runtime/settings-drift.ts'
import { describeFiles, fileDrifts, type LayerEntry } from '../../src/runtime/file-drift.ts'
import { execProgram, readTop, strangers } from '../../src/runtime/processes.ts'
import { settingsOf } from '../../src/runtime/label.ts'
import type { FileRecord } from '../../src/oci/files-manifest.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { definition, environment, keyLeaf } from './host-at-hand.ts'

const digest = `sha256:${'a'.repeat(64)}` as Digest
const secret = 'canary-value'
const options = containerOptions({
  name: 'kiln.hello.prod.3.1',
  number: 1,
  imageId: 'sha256:image',
  network: 'kiln.hello.prod',
  secrets: null,
  definition: { ...definition, config: { GREETING: secret } },
  labels: {
    environment,
    epoch: 3,
    change: 'change.hello.prod.3',
    digest,
    definition: digest,
    key: keyLeaf(3),
    host: 'local',
    settings: settingsOf(definition),
  },
})
const image = {
  Config: { User: '901:901', Env: ['PATH=/bin'], Cmd: ['node', '.'], Labels: { title: 'hello' } },
} as unknown as Parameters<typeof settingsDifferences>[2]

/** As Docker 20.10 tells of the container that it made of them. */
const right = {
  Name: '/kiln.hello.prod.3.1',
  Image: 'sha256:image',
  Config: {
    ...image.Config,
    Hostname: 'hello-3-1',
    Env: [...(options.Env ?? []), 'PATH=/bin'],
    Labels: { ...options.Labels, title: 'hello' },
    Entrypoint: null,
    WorkingDir: '',
  },
  HostConfig: {
    ...options.HostConfig,
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    Binds: null,
    CapAdd: null,
    CgroupnsMode: 'host',
    IpcMode: 'private',
    PidMode: '',
    Runtime: 'runc',
    ShmSize: 67108864,
    ConsoleSize: [0, 0],
    Devices: [],
    OomKillDisable: false,
    CpuQuota: 0,
    MaskedPaths: ['/proc/kcore'],
    ReadonlyPaths: ['/proc/sys'],
  },
  Mounts: [],
  NetworkSettings: { Networks: { 'kiln.hello.prod': {} } },
} as unknown as Inspected

type Changed = { Config?: object; HostConfig?: object } & Record<string, unknown>

const changed = ({ Config = {}, HostConfig = {}, ...rest }: Changed): Inspected => ({
  ...right,
  ...rest,
  Config: { ...right.Config, ...Config },
  HostConfig: { ...right.HostConfig, ...HostConfig },
})
const env = right.Config.Env

test.each<[string, Changed, string[]]>([
  ['as it was made', {}, []],
  [
    'capabilities',
    { HostConfig: { CapAdd: ['SYS_ADMIN'] } },
    ['CapAdd is ["SYS_ADMIN"], not nothing'],
  ],
  ['a capability left', { HostConfig: { CapDrop: [] } }, ['CapDrop is nothing, not ["ALL"]']],
  ['privileged', { HostConfig: { Privileged: true } }, ['Privileged is true, not nothing']],
  ['writable', { HostConfig: { ReadonlyRootfs: false } }, ['ReadonlyRootfs is nothing, not true']],
  [
    'security',
    { HostConfig: { SecurityOpt: null } },
    ['SecurityOpt is nothing, not ["no-new-privileges:true"]'],
  ],
  ['no masks', { HostConfig: { MaskedPaths: null } }, ['MaskedPaths is empty']],
  ['memory', { HostConfig: { Memory: 1 } }, ['Memory is 1, not 134217728']],
  ['a pid namespace', { HostConfig: { PidMode: 'host' } }, ['PidMode is host, not nothing']],
  ['an ipc namespace', { HostConfig: { IpcMode: 'host' } }, ['IpcMode is host, not nothing']],
  [
    'a device',
    { HostConfig: { Devices: [{ PathOnHost: '/dev/sda' }] } },
    ['Devices is [{"PathOnHost":"/dev/sda"}], not nothing'],
  ],
  [
    'a published port',
    { HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '80' }] } } },
    ['PortBindings is {"80/tcp":[{"HostPort":"80"}]}, not nothing'],
  ],
  [
    'a restart policy',
    { HostConfig: { RestartPolicy: { Name: 'always' } } },
    ['RestartPolicy is {"Name":"always"}, not {"Name":"no"}'],
  ],
  [
    'its log',
    { HostConfig: { LogConfig: { Type: 'splunk', Config: { token: secret } } } },
    ['LogConfig differs'],
  ],
  ['a field nobody knows', { HostConfig: { Fresh: 'yes' } }, ['Fresh is yes, not nothing']],
  ['a mount', { Mounts: [{ Destination: '/etc' }] }, ['mount at /etc was added']],
  ['the user', { Config: { User: '0' } }, ['user is 0, not 901:901']],
  ['the image', { Image: 'sha256:other' }, ['image is sha256:other, not sha256:image']],
  ['the command', { Config: { Cmd: ['sh', secret] } }, ['command differs']],
  [
    'a health check',
    { Config: { Healthcheck: { Test: ['CMD', secret] } } },
    ['health check differs'],
  ],
  [
    'a variable changed',
    { Config: { Env: env.map((one) => one.replace(secret, `x${secret}`)) } },
    ['environment variable GREETING changed'],
  ],
  [
    'a variable added',
    { Config: { Env: [...env, `TOKEN=${secret}`] } },
    ['environment variable TOKEN was added'],
  ],
  [
    'a variable gone',
    { Config: { Env: env.slice(1) } },
    ['environment variable GREETING is missing'],
  ],
  [
    'a label forged',
    { Config: { Labels: { ...right.Config.Labels, 'kiln.digest': secret } } },
    ['label kiln.digest changed'],
  ],
  [
    'a label added',
    { Config: { Labels: { ...right.Config.Labels, x: secret } } },
    ['label x was added'],
  ],
  [
    'another network',
    { NetworkSettings: { Networks: { 'kiln.hello.prod': {}, host: {} } } },
    ['network host was added'],
  ],
  ['no network', { NetworkSettings: { Networks: {} } }, ['network kiln.hello.prod is missing']],
])('%s', (_what, change, expected) => {
  const found = settingsDifferences(changed(change), options, image).map(({ what }) => what)
  expect(found).toEqual(expected)
  expect(found.join()).not.toContain(secret)
})

const record: FileRecord = { path: 'app/x', type: 'file', mode: '0644', owner: '0:0', digest }
const manifest = new Map<string, FileRecord>([
  ['app', { path: 'app', type: 'directory', mode: '0755', owner: '0:0' }],
  ['app/x', record],
])
const folder = { type: 'directory', mode: '0755', owner: '0:0' } as const
const file = { type: 'file', size: 1, mode: '0644', owner: '0:0', digest: 'sha256:b' } as const

test.each<[string, LayerEntry[], string[]]>([
  ['nothing', [], []],
  [
    'changed',
    [
      { path: 'app', ...folder },
      { path: 'app/x', ...file },
    ],
    ['changed /app/x'],
  ],
  ['the same bytes again', [{ path: 'app/x', ...file, digest }], ['changed /app/x']],
  [
    'added',
    [
      { path: 'app', ...folder },
      { path: 'app/y', ...file },
    ],
    ['added /app/y'],
  ],
  ['removed', [{ path: 'app/x', type: 'whiteout' }], ['removed /app/x']],
  ['an emptied directory', [{ path: 'app', ...folder }], ['changed /app']],
  ['a link', [{ path: 'app/x', type: 'symlink' }], ['changed /app/x']],
  [
    'where a mount is',
    [
      { path: 'run', ...folder },
      { path: 'run/secrets', ...folder },
    ],
    [],
  ],
  ['a file where a mount is', [{ path: 'run/secrets', ...file }], ['added /run/secrets']],
  [
    'beside a mount',
    [
      { path: 'run', ...folder },
      { path: 'run/x', ...file },
    ],
    ['added /run/x'],
  ],
])('files: %s', (_what, entries, expected) => {
  const drifts = fileDrifts(entries, manifest, ['/tmp', '/run/secrets'])
  expect(drifts.map(({ kind, path }) => `${kind} ${path}`)).toEqual(expected)
})

test('ten files are named, of the others their number', () => {
  const many = Array.from({ length: 500 }, (_, n) => ({ path: `${'p'.repeat(300)}${n}`, ...file }))
  const text = describeFiles(fileDrifts(many, manifest, []))
  expect(text).toMatch(/; and 490 more$/)
  expect(text.length).toBeLessThan(4000)
})

test.each([
  [
    'its own',
    [
      ['10', '1', 'node'],
      ['11', '10', 'sh'],
      ['12', '11', 'sleep 5'],
    ],
    [],
  ],
  [
    'an exec and its child',
    [
      ['10', '1', 'node'],
      ['20', '1', 'sh -c x'],
      ['21', '20', 'curl'],
    ],
    ['sh', 'curl'],
  ],
  [
    'a circle',
    [
      ['10', '1', 'node'],
      ['20', '21', 'a'],
      ['21', '20', 'b'],
    ],
    ['a', 'b'],
  ],
  ['without the first', [['20', '1', 'a']], ['a']],
])('processes: %s', (_what, rows, expected) => {
  expect(strangers(readTop(rows), 10).map(({ program }) => program)).toEqual(expected)
})

test('of a command only the program is told', () => {
  expect(execProgram(`exec_start: /bin/sh -c echo ${secret}`)).toBe('/bin/sh')
})
