import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { probeS3 } from '../../src/store/probe.ts'
import { openS3Head } from '../../src/store/s3-head.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import { startGateway, type Gateway } from '../helpers/s3-gateway.ts'
import { storeContract } from './contract.ts'

describe('the S3 store on versitygw', () => {
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(async () => {
    await gateway.stop()
  })

  storeContract(async () => {
    const settings = gateway.settings()
    return { store: openS3Store(settings), head: openS3Head(settings) }
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
