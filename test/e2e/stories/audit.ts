import { execa } from 'execa'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import type { Repository } from '../../../scripts/demo/repository.ts'
import { findTool } from '../../helpers/find-tool.ts'
import { referrersApi, registryWithout } from '../../helpers/registry-without.ts'
import { here, run, work } from '../command.ts'
import { commitFile, eventually, type KilnAtHand } from '../kiln-at-hand.ts'
import { containersOf, onRecord } from '../record.ts'

/** `digest` serves in prod. */
type Given = { kiln: KilnAtHand; repository: Repository; digest: string }

/** What the machine says of Kiln's own processes, and what programs read of its answers. */
export function machineStory(given: () => Given): void {
  test('status lists every process, a second up says that all runs, doctor misses nothing', async () => {
    const { kiln } = given()
    const status = await run(kiln, 'status')
    expect(status.exitCode).toBe(0)
    const rows = status.stdout.split('\n').map((line) => line.split('\t').slice(0, 2).join(' '))
    expect(rows.toSorted()).toEqual(
      ['build', 'haproxy', 'host', 'server', 'signer', 'temporal'].map((name) => `${name} ready`),
    )
    const again = await run(kiln, 'up')
    expect(again).toMatchObject({ exitCode: 0, stdout: status.stdout })
    expect(again.stderr).toContain('everything runs already')
    const doctor = await run(kiln, 'doctor')
    expect(doctor.exitCode).toBe(0)
    for (const name of ['Node', 'HAProxy', 'git']) expect(doctor.stdout).toContain(name)
    expect(doctor.stdout).not.toContain('\tmissing\t')
  })

  test('a killed process is started again and says so', async () => {
    const { kiln } = given()
    const pid = await kiln.pid('host')
    process.kill(pid, 'SIGKILL')
    await eventually('the host runs again', 30, async () => {
      const { stdout } = await here(kiln, 'status')
      return /^host\tready\t\d+\t1\t/m.test(stdout) ? true : undefined
    })
    expect(await kiln.pid('host')).not.toBe(pid)
    const log = await readFile(join(kiln.home, 'logs/supervisor.log'), 'utf8')
    expect(log).toMatch(/host.*(SIGKILL|again)/)
    const { exitCode } = await work(kiln, 'scale', 'hello/prod', '3')
    expect(exitCode).toBe(0)
  })

  // As processes: what is said at once, by a server, line by line, and of a failure.
  test.each(['up', 'history hello/prod', 'logs hello/dev', 'promote hello/prod sha256:none'])(
    'a process of %s --json writes data alone, its first field the version',
    async (line) => {
      const { kiln } = given()
      const { stdout } = await run(kiln, ...line.split(' '), '--json')
      for (const first of firstFields(stdout)) expect(first).toEqual(['version', 1])
    },
  )

  test.each([
    'status',
    'doctor',
    'template list',
    'template show node-service',
    'template check node-service',
    'environments',
    'history hello',
    'operations',
    'watch list',
    'fsck',
    'reindex',
    'verify hello/prod',
    'history hello/none',
    'verify nothing',
    'logs hello/none',
  ])('%s --json is data alone, its first field the version', async (line) => {
    const { kiln } = given()
    const { stdout } = await here(kiln, ...line.split(' '), '--json')
    for (const first of firstFields(stdout)) expect(first).toEqual(['version', 1])
  })
}

/** The first field of each document. */
function firstFields(stdout: string): unknown[] {
  return stdout.split('\n').map((text) => Object.entries(JSON.parse(text) as object)[0])
}

/** How one may ask what to verify: what serves, by each of its names. */
async function forms({ kiln, digest }: Given): Promise<string[]> {
  const { environments } = (await onRecord(kiln)).ledger
  const active = ['hello/prod', 'hello/dev'].map(
    (name) => `${name}@${environments.get(name as never)?.active?.body.sequence}`,
  )
  return [digest, digest.slice(7, 19), 'hello/prod', ...active]
}

/** The line that verifies the provenance instead. */
function ofProvenance(command: string): string {
  const changed = command
    .replace('promote.pub', 'build.pub')
    .replace('https://slsa.dev/verification_summary/v1', 'https://slsa.dev/provenance/v1')
  expect(changed).not.toBe(command)
  return changed
}

/** The same line verifies the same by the tag, of a registry that has no referrers API. */
async function withoutReferrers({ kiln }: Given, command: string): Promise<void> {
  const [, kept = '', host = ''] =
    /^DOCKER_CONFIG=(\S+) .* (127\.0\.0\.1:\d+)\/hello@/.exec(command) ?? []
  const old = await registryWithout(referrersApi, Number(host.split(':')[1]))
  try {
    const config = await mkdtemp(join(kiln.folder, 'docker-'))
    const known = await readFile(join(kept, 'config.json'), 'utf8')
    const there = `127.0.0.1:${old.port}`
    await writeFile(join(config, 'config.json'), known.replaceAll(host, there))
    const line = command.replace(kept, config).replace(`${host}/hello`, `${there}/hello`)
    for (const one of [line, ofProvenance(line)]) expect((await shell(one)).exitCode).toBe(0)
    expect((await shell(line.replace('promote.pub', 'record.pub'))).exitCode).not.toBe(0)
    expect(old.asked.some((path) => path.includes('/manifests/sha256-'))).toBe(true)
  } finally {
    await old.close()
  }
}

/** What others verify while Kiln runs. */
export function evidenceStory(given: () => Given): void {
  test('evidence of a key is judged on a machine without Kiln, and by cosign and slsa-verifier', async () => {
    const { kiln, digest } = given()
    const file = join(kiln.folder, 'prod.evidence.tar')
    const made = await run(kiln, 'evidence', 'hello/prod', '--output', file)
    expect(made).toMatchObject({ exitCode: 0, stdout: file })
    const root = /--root (sha256:[0-9a-f]{64})$/m.exec(made.stderr)?.[1] ?? ''
    const elsewhere = { ...kiln, home: join(kiln.folder, 'elsewhere') }
    const judged = await here(elsewhere, 'verify', file, '--root', root)
    expect(judged).toMatchObject({ exitCode: 0 })
    expect(judged.stdout).toMatch(/^standing\tok\tactive as of entry/m)
    expect(judged.stdout).toMatch(/^proved before\tok\tactive in hello\/test/m)
    const unpinned = await here(elsewhere, 'verify', file)
    expect(unpinned.exitCode).toBe(8)
    expect(unpinned.stdout).toContain(root)
    const at = await mkdtemp(join(kiln.folder, 'evidence-'))
    const script = `cd ${at} && tar -xf ${file} && unshare --map-root-user --net sh verify.sh`
    const { exitCode, stdout } = await shell(script)
    expect(exitCode).toBe(0)
    expect(stdout).toContain(`both agree: ${digest} may run in hello/prod`)
  })

  test('is verified form by form, and the printed line of cosign says the same', async () => {
    const { kiln, digest } = given()
    for (const what of await forms(given())) {
      const { exitCode, stdout } = await here(kiln, 'verify', what)
      expect({ what, exitCode }).toEqual({ what, exitCode: 0 })
      expect(stdout.split('\n').length).toBeGreaterThan(3)
      for (const line of stdout.split('\n')) expect(line.split('\t')[1]).toBe('ok')
    }
    const own = await here(kiln, 'verify', 'hello/prod', '--json')
    const { subject, checks } = JSON.parse(own.stdout) as { subject: string; checks: object[] }
    const params = { app: 'hello', environment: 'prod' }
    const told = await (await kiln.api()).verification({ params, query: {} })
    // The log and what was seen of it before are checked by who asks, not by who is asked.
    expect(told).toEqual({ subject, passed: true, checks: checks.slice(2) })
    const { stderr } = await run(kiln, 'verify', 'hello/prod')
    const command = /^repeat it: (.+)$/m.exec(stderr)?.[1] ?? ''
    expect(command).toContain(`cosign verify-attestation --key ${kiln.home}/trust/promote.pub `)
    const { exitCode, stdout } = await shell(command)
    expect(exitCode).toBe(0)
    const payloads = stdout.split('\n').map((line) => JSON.parse(line) as { payload: string })
    const keys = payloads.map(({ payload }) => Buffer.from(payload, 'base64').toString())
    expect(keys.some((key) => key.includes('hello/prod') && key.includes(digest.slice(7)))).toBe(
      true,
    )
    const other = command.replace('promote.pub', 'record.pub')
    expect((await shell(other)).exitCode).not.toBe(0)
    expect((await shell(ofProvenance(command))).exitCode).toBe(0)
    await withoutReferrers(given(), command)
  })

  test('is read over HTTP, without a sign-in, by programs that are not ours', async () => {
    const { kiln } = given()
    const base = `${await kiln.address()}/api/v1`
    const vkey = await readFile(join(kiln.home, 'trust/log.vkey'), 'utf8')
    expect(await (await fetch(`${base}/log.vkey`)).text()).toBe(vkey)
    const check = (key: string) =>
      execa(findTool('tlog-check'), ['-url', base, '-vkey', key], { reject: false })
    const checked = await check(vkey.trim())
    expect(checked.exitCode).toBe(0)
    expect(JSON.parse(checked.stdout)).toMatchObject({ origin: 'kiln.localhost' })
    expect((await check(vkey.trim().replace('kiln.', 'other.'))).exitCode).toBe(1)
  })
}

/** What stands once nothing runs any more; Kiln has too little disk for work after it. */
export function stoppedStory(given: () => Given): void {
  test('stands without any process: verified, whole, and the index is made anew the same', async () => {
    const { kiln } = given()
    const byServer = await here(kiln, 'reindex')
    expect(await here(kiln, 'reindex')).toEqual(byServer)
    const before = await containersOf(kiln)
    await kiln.down()
    expect((await run(kiln, 'status')).exitCode).toBe(3)
    // Instances outlive Kiln's own processes.
    expect(await containersOf(kiln)).toEqual(before)
    for (const what of await forms(given())) {
      expect({ what, ...(await here(kiln, 'verify', what)) }).toMatchObject({ what, exitCode: 0 })
    }
    const whole = await run(kiln, 'fsck')
    const { facts } = await onRecord(kiln)
    expect(whole).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(new RegExp(`^${facts.length}\\t`)),
    })
    await rm(join(kiln.home, 'index'), { recursive: true })
    expect(await run(kiln, 'reindex')).toMatchObject({ exitCode: 0, stdout: byServer.stdout })
  })

  test.each([
    { what: 'a bundle', folder: 'bundles/leaf' },
    { what: 'an entry tile', folder: 'tile/entries' },
    { what: 'a hash tile', folder: 'tile/0' },
    { what: 'the head', folder: 'head' },
  ])('one flipped byte in $what is found by verify and by fsck', async ({ folder }) => {
    const { kiln } = given()
    const path = await newest(join(kiln.home, 'store', folder))
    const bytes = await readFile(path)
    const flipped = Buffer.from(bytes)
    flipped[bytes.length >> 1] = (flipped[bytes.length >> 1] ?? 0) ^ 1
    await writeFile(path, flipped)
    try {
      const fsck = await here(kiln, 'fsck')
      expect(fsck.exitCode).toBe(8)
      expect(fsck.stderr).toContain(folder.split('/')[0])
      expect((await here(kiln, 'verify', 'hello/prod')).exitCode).toBe(8)
    } finally {
      await writeFile(path, bytes)
    }
  })

  test('with every byte back it is whole again', async () => {
    const { kiln } = given()
    expect((await here(kiln, 'fsck')).exitCode).toBe(0)
    expect((await here(kiln, 'verify', 'hello/prod')).exitCode).toBe(0)
  })

  test('with little free Kiln is up again and says so: what served goes on by the same instances, and nothing begins', async () => {
    const { kiln, repository } = given()
    const before = (await containersOf(kiln)).map(({ id }) => id).toSorted()
    const tight = { ...kiln, env: { ...kiln.env, KILN_MIN_FREE: '999999Gi' } }
    const up = await run(tight, 'up')
    expect(up.stderr).toMatch(/^ALARM low disk: .* are free at .*\n.*\n {2}next: free /m)
    expect(up.exitCode).toBe(0)
    const api = await kiln.api()
    const { items } = await api.environments({})
    for (const { name, address } of items) {
      const answer = await eventually(`${name} serves`, 30, () =>
        fetch(String(address)).then(
          (one) => (one.ok ? one : undefined),
          () => undefined,
        ),
      )
      expect(answer.status).toBe(200)
    }
    const known = (await onRecord(kiln)).facts.length
    const commit = await commitFile(repository, 'message.txt', 'another\n')
    const build = await work(tight, 'build', `${repository.path}@${commit}`)
    expect(build).toMatchObject({
      exitCode: 3,
      operation: { state: 'failed', failure: { code: 'low_disk' }, steps: [{ name: 'source' }] },
    })
    const scale = await work(tight, 'scale', 'hello/prod', '2')
    expect(scale).toMatchObject({
      exitCode: 3,
      operation: { state: 'refused', result: { rule: 'low-disk' }, failure: { code: 'low_disk' } },
    })
    const said = (await onRecord(kiln)).facts.slice(known)
    expect(said).toMatchObject([{ kind: 'refusal', body: { rule: 'low-disk' } }])
    expect((await containersOf(kiln)).map(({ id }) => id).toSorted()).toEqual(before)
  })
}

/** A line as a person pastes it, with cosign on the path and no network but this machine's. */
function shell(line: string) {
  const path = [
    dirname(findTool('cosign')),
    dirname(findTool('slsa-verifier')),
    process.env['PATH'] ?? '',
  ].join(delimiter)
  return execa('sh', ['-c', line], {
    env: { PATH: path, https_proxy: 'http://127.0.0.1:1' },
    reject: false,
  })
}

/** The file of a folder that was written last. */
async function newest(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && !entry.name.endsWith('.lock'))
  const dated = await Promise.all(
    files.map(async (entry) => {
      const path = join(entry.parentPath, entry.name)
      return { path, at: (await stat(path)).mtimeMs }
    }),
  )
  const [last] = dated.toSorted((a, b) => b.at - a.at)
  if (last === undefined) throw new Error(`no file in ${folder}`)
  return last.path
}
