import { describe, expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { probeStore } from '../../src/store/probe.ts'
import { memoryStore, type Fault } from '../helpers/memory-store.ts'
import { storeContract } from './contract.ts'
import { read } from './keys.ts'

describe('the memory store of tests', () => {
  storeContract(async () => memoryStore())

  test.each<[string, Fault]>([
    ['the write was lost', 'lost'],
    ['the write landed and only the answer was lost', 'landed'],
  ])('putting and swapping again succeeds when %s', async (_when, fault) => {
    const pending: Fault[] = [fault, undefined, fault, undefined]
    const { store, head } = memoryStore(() => pending.shift())
    await expect(store.put('a', Buffer.from('a'))).rejects.toThrow('no answer')
    await store.put('a', Buffer.from('a'))
    expect(await read(store, 'a')).toBe('a')
    await expect(head.swap(undefined, Buffer.from('1'))).rejects.toThrow('no answer')
    const { version } = await head.swap(undefined, Buffer.from('1'))
    expect((await head.read())?.version).toBe(version)
  })
})

describe('the probe', () => {
  test('refuses a store in which every writer wins', async () => {
    const { store, head } = memoryStore()
    const objects = new Map<string, Uint8Array>()
    const careless = {
      ...store,
      put: async (key: string, bytes: Uint8Array) => void objects.set(key, bytes),
      get: async (key: string) => objects.get(key),
    }
    await expect(probeStore({ store: careless, probeHead: head })).rejects.toMatchObject({
      code: 'store_unsuitable',
    })
  })

  test('refuses a head that moves from what is no longer there', async () => {
    const { store } = memoryStore()
    let bytes: Uint8Array = Buffer.alloc(0)
    const careless = {
      read: async () => ({ bytes, version: '1' }),
      swap: async (_seen: string | undefined, next: Uint8Array) => {
        bytes = next
        return { version: '1' }
      },
    }
    await expect(probeStore({ store, probeHead: careless })).rejects.toMatchObject({
      code: 'store_unsuitable',
    })
  })

  test('refuses a store whose winner is not the one that it names', async () => {
    const { store, head, objects } = memoryStore()
    const swapping = {
      ...store,
      async put(key: string, bytes: Uint8Array) {
        if (objects.has(key)) {
          objects.set(key, bytes)
          throw new KilnError('digest_mismatch', 'other bytes')
        }
        objects.set(key, bytes)
      },
    }
    await expect(probeStore({ store: swapping, probeHead: head })).rejects.toMatchObject({
      code: 'store_unsuitable',
    })
  })
})
