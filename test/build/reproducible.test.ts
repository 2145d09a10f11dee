import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { forgetCache } from '../../src/build/docker-engine.ts'
import { KilnError } from '../../src/domain/error.ts'
import type { CheckedTemplate } from '../../src/domain/template.ts'
import { checkTemplate } from '../../src/template/check-template.ts'
import type { ChildAnswer, ChildRequest } from '../helpers/build-child.ts'
import type { BuildRoom } from '../helpers/build-room.ts'
import { buildRoom, putText, source } from '../helpers/build-room.ts'
import { testTemplates, type TestTemplates } from '../helpers/templates.ts'

const app = 'test-reproducible'
const faketime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1'
const hello = join(import.meta.dirname, '..', '..', 'examples', 'hello')

let templates: TestTemplates
let template: CheckedTemplate
let room: BuildRoom
/** Built before all else: its steps are in the cache. */
let first: ChildAnswer

beforeAll(async () => {
  templates = await testTemplates()
  template = await checkTemplate(templates.room, 'node-service')
  room = await buildRoom({ store: templates.store })
  first = await buildInChild({ useCache: true })
}, 600_000)

afterAll(async () => {
  await forgetCache(room.docker, app)
  await room.close()
})

/** Does what the rules of the canonical layer are there for: an account, capabilities of time, links, deletions. */
const eventful = `FROM base
WORKDIR /app
COPY deps/ /app/
COPY app/ /app/
RUN useradd --create-home --uid 902 service && date +clock:%s && date > /tmp/now && mkdir -p /root/.npm/_logs
RUN node --eval "require('fs').writeFileSync('/app/made.json', JSON.stringify(process.versions))"
RUN rm -r /usr/share/doc && ln -s /app /srv/app && ln /app/server.js /app/again.js
RUN perl -e 'mkdir q(/var/lib/app); chown 902, 902, q(/var/lib/app)' && touch /etc/machine-id
USER 902:902
CMD ["node", "."]
`

type Variation = {
  useCache: boolean
  dockerfile?: string
  environment?: Record<string, string>
  umask?: string
  runArgs?: Record<string, string>
  committedAt?: number
}

/** libfaketime travels in the source, so that it is there to move the clock of RUN, and is the same for all. */
function sourceFiles(): Record<string, string> {
  const names = ['server.js', 'package.json', 'package-lock.json', 'message.txt', 'kiln.yaml']
  const files = names.map((name) => [name, readFileSync(join(hello, name), 'latin1')] as const)
  return { ...Object.fromEntries(files), 'clock.so': readFileSync(faketime, 'latin1') }
}

async function buildInChild(variation: Variation): Promise<ChildAnswer> {
  const { dockerfile = eventful, umask = '022', environment = {} } = variation
  const { committedAt = source.committedAt } = variation
  const build = `build:${crypto.randomUUID()}`
  const checked = { ...template, dockerfile: await putText(templates.store, dockerfile) }
  const request: ChildRequest = {
    root: room.root,
    storeRoot: templates.storeRoot,
    files: sourceFiles(),
    fetch: { build, template: checked },
    image: {
      build,
      app,
      template: checked,
      source: { ...source, committedAt },
      useCache: variation.useCache,
    },
    runArgs: variation.runArgs ?? {},
  }
  const script = join(import.meta.dirname, '..', 'helpers', 'build-child.ts')
  const command = `umask ${umask}; exec "$0" "$@"`
  return new Promise((resolve, reject) => {
    const child = execFile(
      'sh',
      ['-c', command, process.execPath, script],
      { env: { ...process.env, ...environment }, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) =>
        error === null
          ? resolve(JSON.parse(stdout) as ChildAnswer)
          : reject(new Error(stderr, { cause: error })),
    )
    child.stdin?.end(JSON.stringify(request))
  })
}

/** What the clock said inside a RUN, in seconds. */
function clockOf({ lines }: ChildAnswer): number {
  return Number(lines.find((line) => line.startsWith('clock:'))?.slice('clock:'.length))
}

const elsewhere = {
  LD_PRELOAD: faketime,
  FAKETIME: '+40d',
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
  TZ: 'Asia/Tokyo',
}

test('the same source gives the same digest under another clock, time zone and umask, without cache and with steps that the cache has of an earlier commit', async () => {
  expect(existsSync(faketime)).toBe(true)
  const again = await buildInChild({ useCache: true })
  expect(again.artifact).toBe(first.artifact)
  // Nothing of the earlier commit's time may be left in what its steps made.
  const committedAt = source.committedAt + 60
  const cached = await buildInChild({ useCache: true, committedAt })
  expect(cached.lines.join('\n')).toContain('Using cache')
  const later = await buildInChild({
    useCache: false,
    committedAt,
    environment: elsewhere,
    umask: '077',
    runArgs: { LD_PRELOAD: '/app/clock.so', FAKETIME: '+400d', NO_FAKE_STAT: '1' },
  })
  expect(later).toMatchObject({ zone: 'Asia/Tokyo', umask: '77' })
  expect(Date.parse(later.now) - Date.now()).toBeGreaterThan(39 * 86_400_000)
  expect(clockOf(later) - clockOf(first)).toBeGreaterThan(399 * 86_400)
  await room.activities.compareArtifacts({ recorded: cached, rebuilt: later })
  expect(later.artifact).toBe(cached.artifact)
}, 300_000)

test('a RUN that writes the clock into a file is found out, and the file named', async () => {
  const dockerfile = `FROM base\nRUN date +%s%N > /opt/built-at\nUSER 901:901\nCMD ["node"]\n`
  const recorded = await buildInChild({ useCache: false, dockerfile })
  const rebuilt = await buildInChild({ useCache: false, dockerfile })
  const compared = room.activities.compareArtifacts({ recorded, rebuilt })
  await expect(compared).rejects.toThrow(KilnError)
  await expect(compared).rejects.toMatchObject({
    code: 'not_reproducible',
    place: recorded.artifact,
    lines: ['opt/built-at: digest'],
  })
}, 300_000)
