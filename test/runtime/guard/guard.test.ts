import { pino } from 'pino'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Entered } from '../../../src/domain/break-glass.ts'
import type { Definition } from '../../../src/domain/definition.ts'
import { digestOfHex, type Digest } from '../../../src/domain/digest.ts'
import { KilnError } from '../../../src/domain/error.ts'
import { containerOptions } from '../../../src/runtime/container.ts'
import { createGuard, type Admitted } from '../../../src/runtime/guard/guard.ts'
import type { Seen, Verdict } from '../../../src/runtime/guard/verdict.ts'
import { settingsOf, writeLabels, type InstanceLabels } from '../../../src/runtime/label.ts'
import { definition as standard } from '../host-at-hand.ts'

// Every decision of the guard, over what an engine and a ledger say; test/runtime/guard/engine.test.ts
// has a real engine ask.

const naming = { host: 'local', prefix: 'kiln' }
const name = 'kiln.hello.prod.3.1'
const [artifact, other] = [digestOfHex('aa'.repeat(32)), digestOfHex('bb'.repeat(32))]
const definitionDigest = digestOfHex('dd'.repeat(32))
const [imageId, otherImageId] = [`sha256:${'1a'.repeat(32)}`, `sha256:${'1b'.repeat(32)}`]
const key = 'ee'.repeat(32)

let containers: Map<string, Seen>
let execs: Map<string, string>
let images: Map<string, { id: string; references: readonly string[] }>
let admitted: Admitted[]
let entered: Entered[]
let now: Date
let rehearsed: Digest[]
let definition: Definition
let broken: 'engine' | 'ledger' | null

const labels = (change: Partial<InstanceLabels> = {}): InstanceLabels => ({
  environment: 'hello/prod',
  epoch: 3,
  change: 'change.hello.prod.3',
  digest: artifact,
  definition: definitionDigest,
  key,
  host: 'local',
  settings: settingsOf(definition),
  ...change,
})

function seen(change: Partial<Seen> = {}): Seen {
  const made = { id: 'c0ffee', name, labels: writeLabels(labels()), imageId, image: imageId }
  return { ...made, joins: [], ...change }
}

const stranger = (change: Partial<Seen> = {}) =>
  seen({ id: 'beef', name: 'web', labels: {}, imageId: 'sha256:x', image: 'nginx:1', ...change })

beforeEach(() => {
  broken = null
  entered = []
  now = new Date('2026-11-28T03:00:00Z')
  rehearsed = []
  definition = { ...standard, secrets: { token: 'file:token' } }
  const [own, web] = [seen(), stranger()]
  containers = new Map([
    ...['c0ffee', 'c0', name].map((reference) => [reference, own] as const),
    ...['beef', 'web'].map((reference) => [reference, web] as const),
  ])
  execs = new Map([
    ['e1', 'c0ffee'],
    ['e2', 'beef'],
  ])
  images = new Map([
    [imageId, { id: imageId, references: [`127.0.0.1:7401/hello@${artifact}`] }],
    ['hello:mine', { id: imageId, references: ['hello:mine'] }],
    ['hello:bad', { id: otherImageId, references: ['hello:bad'] }],
    ['nginx:1', { id: 'sha256:x', references: ['nginx:1'] }],
  ])
  admitted = [
    { environment: 'hello/prod', digest: artifact, definition: definitionDigest, key, sequence: 3 },
  ]
})

const out = (what: 'engine' | 'ledger') => {
  if (broken === what) throw new KilnError('docker_unavailable', `the ${what} is away`)
}

function ask(method: string, uri: string, body: unknown = null): Promise<Verdict> {
  const guard = createGuard({
    naming,
    engine: {
      container: async (reference) => (out('engine'), containers.get(reference) ?? null),
      exec: async (id) => (out('engine'), execs.get(id) ?? null),
      image: async (reference) => (out('engine'), images.get(reference) ?? null),
    },
    ledger: {
      artifactsOf: async (id) => {
        out('ledger')
        return id === imageId ? [artifact] : id === otherImageId ? [other] : []
      },
      admitted: async () => (out('ledger'), admitted),
      entered: async () => (out('ledger'), entered),
      rehearsable: async () => (out('ledger'), rehearsed),
      content: async () => ({ definition, imageId }),
    },
    registryPort: 7401,
    secretsFolder: '/run/kiln-secrets-x',
    now: () => now,
    logger: pino({ level: 'silent' }),
  })
  const bytes = body === null ? null : Buffer.from(JSON.stringify(body))
  return guard({ method, uri: `/v1.41${uri}`, contentType: 'application/json', body: bytes })
}

/** The rule that refused, or `allowed`. */
async function ruleOf(verdict: Promise<Verdict>): Promise<string> {
  const found = await verdict
  return found.allow ? 'allowed' : found.rule
}

describe('into an instance', () => {
  test.each([
    ['POST', '/containers/c0/exec'],
    ['POST', '/containers/c0ffee/exec'],
    ['POST', `/containers/${name}/attach`],
    ['GET', `/containers/${name}/attach/ws`],
    ['GET', `/containers/${name}/archive?path=/`],
    ['HEAD', `/containers/${name}/archive?path=/`],
    ['PUT', `/containers/${name}/archive?path=/`],
    ['POST', `/commit?container=${name}`],
    ['POST', `/containers/${name}/rename?name=x`],
    ['POST', `/containers/${name}/update`],
    ['GET', `/containers/${name}/export`],
    ['POST', `/containers/${name}/checkpoints`],
    ['POST', '/exec/e1/start'],
    ['POST', '/exec/e1/resize'],
    // The engine knows of none, and Kiln may make one at any moment.
    ['POST', '/containers/kiln.hello.prod.4.1/exec'],
  ])('%s %s is refused', async (method, uri) => {
    expect(await ruleOf(ask(method, uri))).toBe('into-instance')
  })

  test.each([
    ['POST', '/containers/web/exec'],
    ['POST', '/containers/beef/attach'],
    ['GET', '/containers/web/archive?path=/'],
    ['POST', '/commit?container=web'],
    ['POST', '/containers/web/rename?name=x'],
    ['POST', '/containers/web/update'],
    ['POST', '/exec/e2/start'],
    ['POST', '/containers/nothing/exec'],
    ['POST', '/exec/nothing/start'],
  ])('%s %s is let alone', async (method, uri) => {
    expect(await ruleOf(ask(method, uri))).toBe('allowed')
  })

  test("what another Kiln's host made on this engine is that one's own business", async () => {
    const others = writeLabels(labels({ host: 'b' }))
    containers.set('theirs', stranger({ name: 'kiln-b.hello.prod.1.1', labels: others }))
    expect(await ruleOf(ask('POST', '/containers/theirs/exec'))).toBe('allowed')
  })

  test('the message says what, why and where to read on', async () => {
    expect(await ask('POST', '/containers/c0/exec')).toMatchObject({
      message: expect.stringMatching(
        /kiln\.hello\.prod\.3\.1 is an instance of hello\/prod.*no exec.*docs\/guard\.md/,
      ),
      container: name,
      environment: 'hello/prod',
    })
  })

  test('an engine that does not say whose it is: no; ending it asks nobody', async () => {
    broken = 'engine'
    expect(await ruleOf(ask('POST', '/containers/web/exec'))).toBe('cannot-tell')
    for (const verb of ['stop', 'kill', 'wait', 'pause'])
      expect(await ruleOf(ask('POST', `/containers/${name}/${verb}`))).toBe('allowed')
    expect(await ruleOf(ask('DELETE', `/containers/${name}?force=1`))).toBe('allowed')
  })
})

describe("into a rehearsal of the host's, which has secrets as an instance has", () => {
  const rehearsal = 'kiln_rehearsal.hello.prod.0123456789abcdef'
  const doors: [string, string][] = [
    ['POST', '/containers/ID/exec'],
    ['POST', '/containers/ID/attach'],
    ['GET', '/containers/ID/archive?path=/run/secrets'],
    ['PUT', '/containers/ID/archive?path=/'],
    ['POST', '/commit?container=ID'],
    ['POST', '/containers/ID/rename?name=web'],
    ['POST', '/containers/ID/update'],
    ['GET', '/containers/ID/export'],
    ['POST', '/exec/e3/start'],
  ]
  beforeEach(() => {
    const one = stranger({ id: 'feed', name: rehearsal, labels: { 'kiln.rehearsal': 'kiln' } })
    for (const reference of ['feed', rehearsal]) containers.set(reference, one)
    execs.set('e3', 'feed')
  })

  test.each(doors)('%s %s is refused', async (method, uri) => {
    for (const reference of ['feed', rehearsal])
      expect(await ask(method, uri.replace('ID', reference))).toMatchObject({
        rule: 'into-instance',
        container: rehearsal,
        environment: 'hello/prod',
        message: expect.not.stringContaining('break-glass'),
      })
  })

  test('also by its name before it is there, by its label alone, and for who was let in', async () => {
    containers.delete(rehearsal)
    expect(await ruleOf(ask('POST', `/containers/${rehearsal}/exec`))).toBe('into-instance')
    containers.set('x', stranger({ labels: { 'kiln.rehearsal': 'kiln' } }))
    expect(await ruleOf(ask('POST', '/containers/x/exec'))).toBe('into-instance')
    const leave = { since: '2026-11-28T02:59:00Z', by: 'ann', reason: 'it hangs' }
    entered = [{ ...leave, instance: rehearsal, id: 'feed', until: '2026-11-29T00:00:00.000Z' }]
    expect(await ruleOf(ask('POST', '/containers/feed/exec'))).toBe('into-instance')
  })

  test('and beside it: nothing shares its namespaces or volumes; it may be ended', async () => {
    const body = { Image: 'nginx:1', HostConfig: { VolumesFrom: ['feed'] } }
    expect(await ruleOf(ask('POST', '/containers/create?name=w', body))).toBe('joins-instance')
    expect(await ruleOf(ask('POST', '/containers/feed/kill'))).toBe('allowed')
  })

  test("another host's on the same engine is that one's own business", async () => {
    const theirs = { 'kiln.rehearsal': 'kiln-b' }
    containers.set('b', stranger({ name: 'kiln-b_rehearsal.hello.prod.0', labels: theirs }))
    expect(await ruleOf(ask('POST', '/containers/b/exec'))).toBe('allowed')
  })
})

describe('where a person was let in', () => {
  const leave = { since: '2026-11-28T02:59:00Z', by: 'ann', reason: 'it hangs' }
  const until = '2026-11-28T03:14:00.000Z'
  beforeEach(() => {
    entered = [{ ...leave, instance: name, id: 'c0ffee', until }]
  })

  test('exec and attach pass into that instance, by any name of it, and nothing else', async () => {
    for (const uri of ['/containers/c0/exec', `/containers/${name}/attach`, '/exec/e1/start'])
      expect([uri, await ruleOf(ask('POST', uri))]).toEqual([uri, 'allowed'])
    expect(await ruleOf(ask('GET', `/containers/${name}/attach/ws`))).toBe('allowed')
    for (const verb of ['rename', 'update', 'copy', 'checkpoints', 'enter'])
      expect([verb, await ruleOf(ask('POST', `/containers/c0/${verb}`))]).toEqual([
        verb,
        'into-instance',
      ])
    expect(await ruleOf(ask('GET', '/containers/c0/archive?path=/'))).toBe('into-instance')
    expect(await ruleOf(ask('POST', '/commit?container=c0'))).toBe('into-instance')
    containers.set('next', seen({ id: 'decade', name: 'kiln.hello.prod.3.2' }))
    expect(await ruleOf(ask('POST', '/containers/next/exec'))).toBe('into-instance')
  })

  test('nobody is let in any more when the time is over, also into what was prepared before', async () => {
    now = new Date(Date.parse(until) - 1)
    expect(await ruleOf(ask('POST', '/containers/c0/exec'))).toBe('allowed')
    now = new Date(until)
    expect(await ruleOf(ask('POST', '/containers/c0/exec'))).toBe('into-instance')
    expect(await ruleOf(ask('POST', '/exec/e1/start'))).toBe('into-instance')
  })

  test('a ledger that cannot be read lets nobody in', async () => {
    broken = 'ledger'
    expect(await ruleOf(ask('POST', '/containers/c0/exec'))).toBe('cannot-tell')
  })
})

/** What Kiln's host sends to make an instance. */
function instance(change: { name?: string; labels?: Partial<InstanceLabels> } = {}) {
  return containerOptions({
    name: change.name ?? name,
    number: 1,
    imageId,
    network: 'kiln.hello.prod',
    definition,
    secrets: `/run/kiln-secrets-x/${change.name ?? name}`,
    labels: labels(change.labels),
  })
}

const make = (body: object, as = name) => ruleOf(ask('POST', `/containers/create?name=${as}`, body))

describe('a create of an instance', () => {
  test('is let through as Kiln makes it, and in no other form', async () => {
    const own = instance()
    expect(await make(own)).toBe('allowed')
    const host = (part: object) => ({ ...own, HostConfig: { ...own.HostConfig, ...part } })
    const { kiln: _, ...rest } = own.Labels as Record<string, string>
    const others: [string, object, string?][] = [
      ['privileged', host({ Privileged: true })],
      ['with a capability', host({ CapAdd: ['SYS_PTRACE'] })],
      ['with a mount', host({ Binds: ['/:/host'] })],
      ['with more memory', host({ Memory: 1 })],
      ['with a port', { ...own, ExposedPorts: { '80/tcp': {} } }],
      ['with another command', { ...own, Cmd: ['sh'] }],
      ['with a variable', { ...own, Env: [...(own.Env ?? []), 'DEBUG=1'] }],
      ['of another image', { ...own, Image: otherImageId }],
      ['of no image', { ...own, Image: undefined }],
      ['under another number', own, 'kiln.hello.prod.3.2'],
      ['under another environment', own, 'kiln.hello.dev.3.1'],
      ['under a stranger name', own, 'web'],
      ['without a name', own, ''],
      ['with a label more', { ...own, Labels: { ...rest, more: '1' } }],
      ['without labels', { ...own, Labels: {} }],
    ]
    for (const [what, body, as] of others)
      expect([what, await make(body, as)]).toEqual([what, 'not-as-defined'])
  })

  test('says which fields differ, and no value', async () => {
    const own = instance()
    const body = {
      ...own,
      Env: ['SECRET=hunter2'],
      HostConfig: { ...own.HostConfig, Privileged: true },
    }
    const verdict = await ask('POST', `/containers/create?name=${name}`, body)
    expect(verdict).toMatchObject({ message: expect.stringContaining('Env, Privileged') })
    expect(JSON.stringify(verdict)).not.toContain('hunter2')
  })

  test('of what is not admissible there is refused', async () => {
    for (const change of [{ digest: other }, { definition: other }, { key: 'ff'.repeat(32) }])
      expect(await make(instance({ labels: change }))).toBe('not-admissible')
    expect(
      await make(
        instance({ name: 'kiln.hello.dev.3.1', labels: { environment: 'hello/dev' } }),
        'kiln.hello.dev.3.1',
      ),
    ).toBe('not-admissible')
    admitted = []
    expect(await make(instance())).toBe('not-admissible')
  })

  test('where the ledger cannot be vouched for: no', async () => {
    broken = 'ledger'
    expect(await make(instance())).toBe('cannot-tell')
  })
})

describe('a create of anything else', () => {
  test("other people's images are let alone, Kiln's only while they are admissible", async () => {
    expect(await make({ Image: 'nginx:1' }, 'web2')).toBe('allowed')
    expect(await make({ Image: 'unknown:1' }, 'web2')).toBe('allowed')
    expect(await make({ Image: 'hello:mine' }, 'web2')).toBe('allowed')
    expect(await make({ Image: 'hello:bad' }, 'web2')).toBe('not-admissible')
    // A rollback target is started aside by the host, which is nobody else to the engine.
    rehearsed = [other]
    expect(await make({ Image: 'hello:bad' }, 'web2')).toBe('allowed')
    rehearsed = []
    admitted = []
    expect(await make({ Image: 'hello:mine' }, 'web2')).toBe('not-admissible')
    expect(await make({ Image: imageId }, 'web2')).toBe('not-admissible')
  })

  test("by a name of Kiln's registry it is Kiln's, also where the engine has no such image", async () => {
    for (const at of ['127.0.0.1:7401', 'localhost:7401', '[::1]:7401', 'LOCALHOST:7401']) {
      expect(await make({ Image: `${at}/hello@${other}` }, 'w')).toBe('not-admissible')
      expect(await make({ Image: `${at}/hello:latest` }, 'w')).toBe('not-admissible')
      expect(await make({ Image: `${at}/hello@${artifact}` }, 'w')).toBe('allowed')
    }
    expect(await make({ Image: `127.0.0.1:5000/hello@${other}` }, 'w')).toBe('allowed')
    images.set('x', { id: 'sha256:y', references: [`127.0.0.1:7401/hello@${other}`] })
    expect(await make({ Image: 'x' }, 'w')).toBe('not-admissible')
  })

  test('that shares namespaces or volumes with an instance is refused', async () => {
    for (const HostConfig of [{ PidMode: 'container:c0' }, { VolumesFrom: [`${name}:ro`] }])
      expect(await make({ Image: 'nginx:1', HostConfig }, 'w')).toBe('joins-instance')
    expect(await make({ Image: 'nginx:1', HostConfig: { PidMode: 'container:web' } }, 'w')).toBe(
      'allowed',
    )
  })

  test('whose body cannot be read is refused, whose image cannot be looked up too', async () => {
    expect(await ruleOf(ask('POST', '/containers/create?name=w'))).toBe('unreadable')
    broken = 'ledger'
    expect(await make({ Image: 'nginx:1' }, 'w')).toBe('cannot-tell')
    broken = 'engine'
    expect(await make({ Image: 'nginx:1' }, 'w')).toBe('cannot-tell')
  })
})

const start = (reference: string, verb = 'start') =>
  ruleOf(ask('POST', `/containers/${reference}/${verb}`))

describe('a start', () => {
  test('of an instance wants that its key still admits it', async () => {
    expect(await start(name)).toBe('allowed')
    expect(await start(name, 'restart')).toBe('allowed')
    admitted = []
    expect(await start(name)).toBe('not-admissible')
    expect(await start(name, 'restart')).toBe('not-admissible')
  })

  test('of one whose labels lie about its image, or are not whole', async () => {
    containers.set('lie', seen({ imageId: otherImageId }))
    containers.set(
      'half',
      seen({ labels: { 'kiln.host': 'local', 'kiln.environment': 'hello/prod' } }),
    )
    expect(await start('lie')).toBe('not-admissible')
    expect(await start('half')).toBe('not-admissible')
  })

  test('of anything else is judged by the image that it was made of', async () => {
    expect(await start('web')).toBe('allowed')
    containers.set('moved', stranger({ image: 'nginx:1', imageId: otherImageId }))
    expect(await start('moved')).toBe('not-admissible')
    containers.set('shares', stranger({ joins: ['c0'] }))
    expect(await start('shares')).toBe('joins-instance')
    expect(await start('nothing')).toBe('allowed')
  })
})
