import { createServer, type RequestListener } from 'node:http'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { probeS3 } from '../../src/store/probe-s3.ts'
import { openS3Head } from '../../src/store/s3-head.ts'
import { s3OnDemand } from '../../src/store/s3-on-demand.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import type { S3Settings } from '../../src/store/s3-client.ts'
import { bucketOnMoto } from '../helpers/moto.ts'
import { startGateway, type Bucket, type Gateway } from '../helpers/s3-gateway.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { storeContract } from './contract.ts'

describe.each([
  { name: 'versitygw', start: startGateway as () => Promise<Bucket> },
  { name: 'moto', start: bucketOnMoto },
])('the S3 store on $name', ({ start }) => {
  let bucket: Bucket
  beforeAll(async () => {
    bucket = await start()
  })
  afterAll(async () => {
    await bucket.stop()
  })

  // As a Kiln opens it.
  storeContract(async () => s3OnDemand(bucket.settings()))
})

describe('on versitygw', () => {
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(async () => {
    await gateway.stop()
  })

  test("is probed beside the log's head, which stays as it is", async () => {
    const settings = gateway.settings()
    await probeS3(settings)
    await probeS3(settings)
    expect(await openS3Head(settings).read()).toBeUndefined()
  })

  test('a bucket that is missing or refuses is an outage, not an empty store', async () => {
    const missing = { ...gateway.settings(), bucket: 'none' }
    await expect(openS3Store(missing).get('a')).rejects.toMatchObject({ code: 'store_unavailable' })
    await expect(openS3Head(missing).read()).rejects.toMatchObject({ code: 'store_unavailable' })
    const stranger = { ...gateway.settings(), secretAccessKey: 'guess' }
    const store = openS3Store(stranger)
    await expect(store.get('a')).rejects.toMatchObject({ code: 'store_unavailable' })
    await expect(store.put('a', Buffer.from('a'))).rejects.toMatchObject({
      code: 'store_unavailable',
    })
  })
})

/** Settings of a server that answers as `listener` does. */
async function serving(listener: RequestListener): Promise<S3Settings> {
  const server = createServer(listener)
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done)
  })
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    bucket: 'kiln',
    accessKeyId: 'kiln',
    secretAccessKey: 'kiln-secret',
    spool: scratch(),
    deadlineMs: 300,
  }
}

describe('the S3 store on a service that misbehaves', () => {
  test.each<[string, RequestListener]>([
    ['never answers', () => {}],
    [
      'stops in the middle of a body',
      (_request, response) => {
        response.writeHead(200, { 'content-length': 100 })
        response.write('half')
      },
    ],
    [
      'hangs up in the middle of a body',
      (_request, response) => {
        response.writeHead(200, { 'content-length': 100 })
        response.write('half', () => response.destroy())
      },
    ],
    [
      'fails',
      (_request, response) => {
        response.writeHead(500)
        response.end()
      },
    ],
  ])('that %s is an outage, in bounded time', async (_how, listener) => {
    const settings = await serving(listener)
    const outage = { code: 'store_unavailable' }
    await expect(openS3Store(settings).get('a')).rejects.toMatchObject(outage)
    await expect(openS3Head(settings).read()).rejects.toMatchObject(outage)
  })

  test('that lets every conditional write pass is refused', async () => {
    const objects = new Map<string, Buffer>()
    const settings = await serving((request, response) => {
      const path = new URL(request.url ?? '', 'http://s3').pathname
      if (request.method === 'GET') {
        const found = objects.get(path)
        response.writeHead(found === undefined ? 404 : 200, { etag: '"same"' })
        response.end(found ?? '<Error><Code>NoSuchKey</Code></Error>')
        return
      }
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        objects.set(path, Buffer.concat(chunks))
        response.writeHead(200, { etag: '"same"' })
        response.end()
      })
    })
    await expect(probeS3({ ...settings, deadlineMs: 10_000 })).rejects.toMatchObject({
      code: 'store_unsuitable',
    })
  })
})
