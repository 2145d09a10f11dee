import { createHash } from 'node:crypto'
import { pino } from 'pino'
import { beforeAll, describe, expect, test } from 'vitest'
import { digestOfHex, type Digest } from '../../src/domain/digest.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { collectedKey } from '../../src/store/collected.ts'
import { memorySigner } from '../helpers/ledger-signer.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { example } from '../signing/examples.ts'

const logger = pino({ level: 'silent' })
const signer = memorySigner()
const memory = memoryStore()
const { store, head, objects } = memory
const { trust } = signer

async function* content(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}

async function blob(text: string): Promise<Digest> {
  const { digest } = await store.putBlob(content(text))
  return digest
}

/** A sealed artifact with everything that it names. */
async function seal() {
  const [config, layer] = [await blob('{}'), await blob('layer')]
  const manifest = {
    config: { digest: config },
    layers: [{ digest: layer }],
  }
  const signable = example('sealed')
  return {
    ...signable,
    artifact: await blob(JSON.stringify(manifest)),
    body: {
      ...signable.body,
      files: await blob('files'),
      specification: await blob('kiln.yaml'),
      pipeline: [
        {
          environment: 'dev',
          definition: await blob('definition'),
          instances: { min: 1, max: 1 },
          automatic: true,
        },
      ],
    },
  }
}

beforeAll(async () => {
  const ledger = openLedger({ store, head, signer, trust, logger })
  const { leaf } = await ledger.decide({ id: 'sealed', signable: await seal() })
  await ledger.decide({ id: 'refusal', signable: example('refusal') })
  await ledger.decide({ id: 'drift', signable: example('drift') })
  await ledger.publishedBundle(leaf)
})

async function problems(at: { store: typeof store; head: typeof head } = memory) {
  return (await fsck({ ...at, trust })).problems
}

/** The objects with one byte flipped, checked; then as before. */
async function flipped(key: string, position: number) {
  const bytes = objects.get(key) ?? Buffer.alloc(0)
  const changed = Uint8Array.from(bytes)
  changed[position] = (changed[position] ?? 0) ^ 1
  objects.set(key, changed)
  try {
    return await problems()
  } finally {
    objects.set(key, bytes)
  }
}

describe('fsck', () => {
  test('finds nothing in a whole log', async () => {
    expect(await fsck({ store, head, trust })).toMatchObject({ entries: 3, problems: [] })
  })

  test.each([
    ['tile/0/', 3],
    ['tile/entries/', 29],
    ['staging/', 29],
    ['bundles/', 61],
    ['blobs/', 1],
  ])(
    'finds a flipped byte in any object below %s',
    async (prefix, stride) => {
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix))
      expect(keys.length).toBeGreaterThan(2)
      for (const key of keys) {
        const length = objects.get(key)?.length ?? 0
        for (let position = 0; position < length; position += stride) {
          const places = (await flipped(key, position)).map(({ place }) => place)
          expect(places, `${key}, byte ${position}`).toContain(key)
        }
      }
    },
    120_000,
  )

  test('finds a flipped byte of the checkpoint', async () => {
    const seen = await head.read()
    const bytes = seen?.bytes ?? Buffer.alloc(0)
    for (let position = 0; position < bytes.length; position += 1) {
      const changed = Uint8Array.from(bytes)
      changed[position] = (changed[position] ?? 0) ^ 1
      const read = async () => ({ bytes: changed, version: '1' })
      const places = (await problems({ store, head: { ...head, read } })).map(({ place }) => place)
      expect({ position, places }).toEqual({
        position,
        places: expect.arrayContaining(['head']) as unknown,
      })
    }
  })

  test('finds every object that is gone', async () => {
    const needed = [...objects.keys()].filter(
      (key) =>
        !/^(staging|bundles\/decision|bundles\/published)\//.test(key) && !/\.p\/[12]$/.test(key),
    )
    expect(needed.length).toBeGreaterThan(8)
    for (const key of needed) {
      const bytes = objects.get(key)
      objects.delete(key)
      expect((await problems()).map(({ place }) => place)).toContain(key)
      if (bytes !== undefined) objects.set(key, bytes)
    }
  })

  test('finds what is there and should not be', async () => {
    const strangers = [
      'tile/0/001',
      'tile/0/000.p/4',
      'tile/7/000.p/1',
      'tile/0/0',
      'bundles/published/x',
      'staging/1',
    ]
    for (const key of strangers) {
      objects.set(key, Buffer.from('strange'))
      expect((await problems()).map(({ place }) => place)).toContain(key)
      objects.delete(key)
    }
  })

  test('takes the tiles of an append that is signed and not finished for what they are', async () => {
    const other = memoryStore()
    for (const [key, bytes] of objects) other.objects.set(key, bytes)
    const seen = await head.read()
    await other.head.swap(undefined, seen?.bytes ?? Buffer.alloc(0))
    const crashing = openLedger({
      ...other,
      signer,
      trust,
      logger,
      crashPoint(name) {
        if (name === 'ledger.tiles-stored') throw new Error('killed')
      },
    })
    await expect(crashing.decide({ id: 'next', signable: example('drift', 2) })).rejects.toThrow(
      'killed',
    )
    expect((await fsck({ ...other, trust })).problems).toEqual([])
    other.objects.set('tile/0/000.p/4', Buffer.alloc(128))
    expect((await fsck({ ...other, trust })).problems).toMatchObject([{ place: 'tile/0/000.p/4' }])
  })

  test('takes an artifact that was collected for what it is, unless an environment needs it', async () => {
    const other = memoryStore()
    const own = memorySigner()
    const ledger = openLedger({ ...other, signer: own, trust: own.trust, logger })
    for (const [key, bytes] of objects) {
      if (key.startsWith('blobs/')) other.objects.set(key, bytes)
    }
    const signable = await seal()
    const { artifact, body } = signable
    await ledger.decide({ id: 'sealed', signable })
    const [manifest] = [blobKey(artifact)]
    other.objects.delete(manifest)
    other.objects.delete(blobKey(body.files))
    const found = async () => (await fsck({ ...other, trust: own.trust })).problems
    expect((await found()).map(({ place }) => place)).toEqual([blobKey(body.files), manifest])
    await other.store.put(collectedKey(artifact), Buffer.from('x'))
    expect(await found()).toEqual([])
    // Its kiln.yaml stays: keys are judged by it.
    const kept = other.objects.get(blobKey(body.specification)) ?? Buffer.alloc(0)
    other.objects.delete(blobKey(body.specification))
    expect(await found()).toMatchObject([{ place: blobKey(body.specification) }])
    other.objects.set(blobKey(body.specification), kept)
    const change = example('change')
    const target = { digest: artifact, definition: body.pipeline[0]?.definition ?? artifact }
    const first = { epoch: 1, tip: null, from: null, rollbackTo: null, target }
    const opened = { ...change, body: { ...change.body, ...first } }
    await ledger.decide({ id: 'change', signable: opened })
    expect(await found()).toEqual([
      {
        place: manifest,
        message: `it was collected, and ${opened.body.environment} needs it: change under way`,
      },
    ])
  })

  test('says which blob holds what', async () => {
    const wrong = digestOfHex(createHash('sha256').update('wrong').digest('hex'))
    const [files] = [...objects.keys()].filter((key) => key.startsWith('blobs/'))
    const bytes = objects.get(files ?? '')
    objects.set(files ?? '', Buffer.from('wrong'))
    expect(await problems()).toContainEqual({ place: files, message: `holds ${wrong}` })
    objects.set(files ?? '', bytes ?? Buffer.alloc(0))
    expect(objects.has(blobKey(wrong))).toBe(false)
  })
})
