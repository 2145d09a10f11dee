import { execa } from 'execa'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { withNextKey } from '../../signing/role-history.ts'
import { currentKey, fingerprintOf } from '../../signing/trust.ts'
import { environmentOf } from '../../src/domain/ledger.ts'
import type { Fact, FactOf } from '../../src/domain/statement.ts'
import { names, statementName } from '../../src/ledger/evidence/format.ts'
import { judgeEvidence, rootFingerprints } from '../../src/ledger/evidence/judge.ts'
import { readEvidence } from '../../src/ledger/evidence/read.ts'
import { readTar } from '../../src/oci/tar-reader.ts'
import { writeTar, type TarOutput } from '../../src/oci/tar-writer.ts'
import { Story } from '../helpers/evidence-story.ts'
import { findTool } from '../helpers/find-tool.ts'
import { example } from '../signing/examples.ts'

const time = '2026-01-01T00:00:00Z'

async function judged(bytes: Uint8Array, root: string | null) {
  const { checks } = judgeEvidence(await readEvidence(stream(bytes)), root)
  return checks
}

async function* stream(bytes: Uint8Array) {
  yield bytes
}

/** What is not ok, by name; a file that cannot be read fails as its error's code. */
async function failures(bytes: Uint8Array, root: string | null): Promise<string[]> {
  try {
    return (await judged(bytes, root)).filter(({ passed }) => !passed).map(({ name }) => name)
  } catch (error) {
    return [String((error as { code?: string }).code)]
  }
}

/** The tar with its files changed: to other bytes, or away. */
async function changed(
  bytes: Uint8Array,
  change: (name: string, content: Buffer) => Buffer | null,
): Promise<Uint8Array> {
  const outputs: TarOutput[] = []
  for await (const { entry, body } of readTar(stream(bytes))) {
    const parts: Uint8Array[] = []
    for await (const part of body) parts.push(part)
    const content = change(entry.name, Buffer.concat(parts))
    if (content !== null)
      outputs.push({ entry: { ...entry, size: content.length }, body: [content] })
  }
  const parts: Uint8Array[] = []
  for await (const part of writeTar(outputs)) parts.push(part)
  return Buffer.concat(parts)
}

let story: Story
let first: FactOf<'key'>
let live: FactOf<'key'>
let whole: Uint8Array
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-evidence-'))
  story = new Story()
  await story.say({ kind: 'roles', time, trust: story.log.trust })
  const bad = await story.seal('bad')
  const one = await story.seal('one')
  const two = await story.seal('two')
  await story.promote('hello/dev', bad)
  await story.promote('hello/dev', one)
  first = await story.promote('hello/prod', one)
  await story.say({ ...example('denial'), artifact: bad })
  await story.promote('hello/dev', two)
  live = await story.promote('hello/prod', two)
  whole = await story.evidence(live)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('a key with all that it takes is judged good, check by check', async () => {
  const checks = await judged(whole, story.root)
  expect(checks.filter(({ passed }) => !passed)).toEqual([])
  expect(checks.map(({ name }) => name)).toEqual(
    [
      'root',
      'log',
      'statements',
      'roles',
      'denials',
      'for other tools',
      'signature',
      'role',
    ].concat(
      ['inclusion', 'environment', 'digest', 'definition', 'sequence', 'valid in the ledger'],
      ['not denied', 'standing', 'sealed', 'origin', 'content', 'proved before'],
    ),
  )
  const said = Object.fromEntries(checks.map(({ name, detail }) => [name, detail]))
  expect(said['log']).toContain(`${story.log.size()} entries, all of them`)
  expect(said['denials']).toBe('1, none left out')
  expect(said['standing']).toContain('active as of entry')
  expect(said['proved before']).toContain('active in hello/dev')
  expect(await story.evidence(live)).toEqual(whole)
})

test('what its artifact was made of is in it: policy, kiln.yaml, files, the template and its base, the SBOM', async () => {
  const { index } = await readEvidence(stream(whole))
  expect(index.blobs.map(({ what }) => what).toSorted()).toEqual([
    'definition',
    'files',
    'kiln.yaml',
    'manifest',
    'policy',
    'template.lock',
    'template.lock of debian, its base',
  ])
  expect(index.statements.map(({ kind }) => kind)).toEqual(
    expect.arrayContaining(['sbom', 'provenance', 'sealed']),
  )
})

test('a key that is over is told as such, and is as good as it was', async () => {
  const checks = await judged(await story.evidence(first), story.root)
  expect(checks.filter(({ passed }) => !passed)).toEqual([])
  expect(checks.find(({ name }) => name === 'standing')?.detail).toContain(
    'superseded by sequence 2',
  )
})

test('without a pinned root, or with another, the answer is no, and names what was found', async () => {
  for (const root of [null, `sha256:${'0'.repeat(64)}`]) {
    expect(await judged(whole, root)).toEqual([
      { name: 'root', passed: false, detail: expect.stringContaining(story.root) },
    ])
  }
})

test('one flipped byte in any file that is judged is noticed', async () => {
  const files: string[] = []
  await changed(whole, (name, content) => {
    files.push(name)
    return content
  })
  expect(files.length).toBeGreaterThan(25)
  for (const file of files) {
    if (file === names.readme || file === names.script) continue
    for (const part of [0.1, 0.5, 0.93]) {
      const other = await changed(whole, (name, content) => {
        if (name === file) content[Math.floor(content.length * part)]! ^= 1
        return content
      })
      const found = await failures(other, story.root)
      // The time of its making is nobody's claim.
      const harmless = file === names.index && found.length === 0
      expect({ file, part, noticed: found.length > 0 || harmless }).toEqual({
        file,
        part,
        noticed: true,
      })
    }
  }
})

test('a file that nothing names is refused', async () => {
  const items: TarOutput[] = []
  for await (const { entry, body } of readTar(stream(whole))) {
    const parts: Uint8Array[] = []
    for await (const part of body) parts.push(part)
    items.push({ entry, body: parts })
    if (entry.name === names.readme) {
      items.push({ entry: { ...entry, name: 'more' }, body: parts })
    }
  }
  const parts: Uint8Array[] = []
  for await (const part of writeTar(items)) parts.push(part)
  await expect(readEvidence(stream(Buffer.concat(parts)))).rejects.toMatchObject({
    code: 'invalid_archive',
    place: 'more',
  })
})

/** The file without a statement, its table of contents in order. */
function without(bytes: Uint8Array, fact: Fact): Promise<Uint8Array> {
  return changed(bytes, (name, content) => {
    if (name === statementName(fact.index, fact.kind)) return null
    if (name !== names.index) return content
    const index = JSON.parse(content.toString()) as { statements: { index: number }[] }
    index.statements = index.statements.filter((one) => one.index !== fact.index)
    return Buffer.from(JSON.stringify(index))
  })
}

describe('what somebody left out', () => {
  const kinds: [string, (fact: Fact) => boolean, string][] = [
    ['a denial of another artifact', (fact) => fact.kind === 'denial', 'denials'],
    ['who may sign', (fact) => fact.kind === 'roles', 'roles'],
    ['the seal', (fact) => fact.kind === 'sealed' && fact.artifact === live.artifact, 'sealed'],
    [
      'the provenance',
      (fact) => fact.kind === 'provenance' && fact.artifact === live.artifact,
      'origin',
    ],
    [
      'the change that the key belongs to',
      (fact) =>
        fact.kind === 'change' && fact.body.environment === 'hello/prod' && fact.body.epoch === 2,
      'valid in the ledger',
    ],
    [
      'an earlier key of the environment',
      (fact) => fact.leaf === first.leaf,
      'valid in the ledger',
    ],
    [
      'the activation in the environment before',
      (fact) =>
        fact.kind === 'activation' &&
        fact.body.environment === 'hello/dev' &&
        fact.artifact === live.artifact,
      'proved before',
    ],
  ]
  test.each(kinds)('%s is missed', async (_what, is, check) => {
    const fact = story.facts.findLast(is)!
    expect(await failures(await without(whole, fact), story.root)).toContain(check)
  })
})

test('a denied artifact, and a promotion past an environment, are refused', async () => {
  const other = new Story()
  await other.say({ kind: 'roles', time, trust: other.log.trust })
  const one = await other.seal('one')
  const skipped = await other.promote('hello/prod', one)
  expect(await failures(await other.evidence(skipped), other.root)).toEqual(['proved before'])
  await other.say({ ...example('denial'), artifact: one })
  expect(await failures(await other.evidence(skipped), other.root)).toContain('not denied')
})

async function rotated(): Promise<Story> {
  const own = new Story()
  await own.say({ kind: 'roles', time, trust: own.log.trust })
  const one = await own.seal('one')
  await own.promote('hello/dev', one)
  await own.follow('promote')
  await own.follow('root')
  await own.promote('hello/prod', one)
  return own
}
const keyIn = ({ ledger }: Story) => environmentOf(ledger, 'hello/prod').active!

describe('after signing keys were followed by others', () => {
  test('whoever pinned the first root, or a later one that vouched for the list, has all checks', async () => {
    const own = await rotated()
    const next = fingerprintOf(currentKey(own.log.trust, 'root'))
    expect(next).not.toBe(own.root)
    expect(await failures(await own.evidence(keyIn(own)), own.root)).toEqual([])
    expect(await failures(await own.evidence(keyIn(own)), next)).toEqual(['roles'])
    await own.list(own.log.trust)
    expect(await failures(await own.evidence(keyIn(own)), next)).toEqual([])
  })

  test('a log by another root does not pass for naming the pinned one', async () => {
    const own = await rotated()
    const victim = currentKey(story.log.trust, 'root')
    const at = own.log.size()
    await own.list(withNextKey(own.log.trust, { ...victim, validFrom: at + 1 }, at))
    expect(rootFingerprints(own.log.trust)).toContain(story.root)
    expect(await failures(await own.evidence(keyIn(own)), story.root)).toEqual(['roles'])
  })

  test('a list of roles that was left out is missed, trust/roles.json put back to the one before', async () => {
    const own = await rotated()
    const before = own.log.trust
    await own.follow('build')
    const bytes = await own.evidence(keyIn(own))
    const less = await changed(await without(bytes, own.facts.at(-1)!), (name, content) =>
      name === names.trust ? Buffer.from(JSON.stringify(before)) : content,
    )
    expect(await failures(less, own.root)).toEqual(['roles'])
  })

  test('what a deny key said after its range had ended counts for nothing, and is not missed', async () => {
    const own = await rotated()
    const old = own.log.keys.roles.deny
    await own.follow('deny')
    await own.log.add(example('denial'), old)
    expect(await failures(await own.evidence(keyIn(own)), own.root)).toEqual([])
  })
})

test("another log's key, log, or statements do not fit in", async () => {
  const other = new Story()
  await other.say({ kind: 'roles', time, trust: other.log.trust })
  const digest = await other.seal('two')
  await other.promote('hello/dev', digest)
  await other.promote('hello/prod', digest)
  const theirs = new Map<string, Buffer>()
  await changed(
    await other.evidence(await other.promote('hello/prod', digest)),
    (name, content) => {
      theirs.set(name, content)
      return content
    },
  )
  for (const name of [names.trust, names.checkpoint, names.entries, names.envelope, names.signer]) {
    const mixed = await changed(whole, (own, content) =>
      own === name ? theirs.get(name)! : content,
    )
    expect({ name, failures: await failures(mixed, story.root) }).not.toEqual({
      name,
      failures: [],
    })
  }
})

/**
 * Runs a command where there is no network at all, not even this machine's own: in a network namespace of
 * its own. Which interfaces it had is written into `interfaces`.
 */
async function offline(
  command: readonly string[],
  { cwd, env }: { cwd: string; env: Record<string, string> },
) {
  const script = '/bin/cat /proc/net/dev > interfaces && exec "$@"'
  const inside = ['--map-root-user', '--net', '/bin/sh', '-c', script, 'sh', ...command]
  const ran = await execa(findTool('unshare'), inside, {
    cwd,
    env,
    extendEnv: false,
    reject: false,
  })
  const interfaces = (await readFile(join(cwd, 'interfaces'), 'utf8')).match(/^ *\w+(?=:)/gm)
  expect(interfaces?.map((name) => name.trim())).toEqual(['lo'])
  return ran
}

/** With nothing on PATH but what the script says that it needs, and the shell's own `dirname`. */
async function run(bytes: Uint8Array) {
  const cwd = await mkdtemp(join(folder, 'sh-'))
  await writeFile(join(cwd, 'e.tar'), bytes)
  await execa('tar', ['-xf', 'e.tar'], { cwd })
  const PATH = join(cwd, 'tools')
  await mkdir(PATH)
  for (const tool of ['cosign', 'slsa-verifier', 'dirname'])
    await symlink(findTool(tool), join(PATH, tool))
  return offline(['/bin/sh', 'verify.sh'], { cwd, env: { PATH, HOME: cwd } })
}

test('kiln verify judges it where there is no server, no home and no network', async () => {
  const cwd = await mkdtemp(join(folder, 'offline-'))
  await writeFile(join(cwd, 'e.tar'), whole)
  const kiln = resolve(import.meta.dirname, '../../bin/kiln')
  const env = { PATH: process.env['PATH'] ?? '', HOME: cwd, KILN_HOME: join(cwd, 'none') }
  const ran = await offline([kiln, 'verify', 'e.tar', '--root', story.root], { cwd, env })
  expect(`${ran.exitCode} ${ran.stderr}`).toMatch(/^0 /)
  expect(ran.stdout).toMatch(/^standing\tok\tactive as of entry/m)
  expect(ran.stdout).not.toMatch(/\tFAILED\t|\tfailed\t/)
})

describe('verify.sh with cosign and slsa-verifier alone', () => {
  test('both agree, where there is no network', async () => {
    const { exitCode, stdout, stderr } = await run(whole)
    expect(`${exitCode} ${stderr}`).toMatch(/^0 /)
    expect(stdout).toContain(`both agree: ${live.body.digest} may run in hello/prod`)
  })

  test.each([names.signer, names.envelope, names.trustedRoot, 'statements'])(
    'a changed %s is refused',
    async (file) => {
      const key = statementName(live.index, 'key')
      const bytes = await changed(whole, (name, content) => {
        if (name !== (file === 'statements' ? key : file)) return content
        const at = Math.floor(content.length / 2)
        content[at] = content[at] === 65 ? 66 : 65
        return content
      })
      const { exitCode, stdout } = await run(bytes)
      expect(exitCode).not.toBe(0)
      expect(stdout).not.toContain('both agree')
    },
  )
})
