import { createHash, randomUUID } from 'node:crypto'
import { KilnError } from '../domain/error.ts'
import type { Principal } from '../domain/statement.ts'
import type { BlobStore } from '../store/blob-store.ts'

/**
 * What is kept of each Idempotency-Key: the hash of the request that first used it, written once.
 * The object store has the contract that is needed (other bytes under a name throw `digest_mismatch`),
 * so a key holds across restarts and servers.
 */
export type RequestMemory = Pick<BlobStore, 'put'>

const keyForm = /^[\x21-\x7e]{8,200}$/

/**
 * The id of one request to do something: from its Idempotency-Key, or a new one. The same key with
 * another request is refused before anything is started.
 */
export async function requestId(
  memory: RequestMemory,
  key: string | undefined,
  request: { principal: Principal; path: string; body: unknown },
): Promise<string> {
  if (key === undefined) return randomUUID().replaceAll('-', '')
  if (!keyForm.test(key)) {
    throw new KilnError(
      'invalid_input',
      'an Idempotency-Key has 8 to 200 visible ASCII characters',
      {
        place: 'Idempotency-Key',
      },
    )
  }
  const id = sha256([request.principal.name, key]).slice(0, 32)
  try {
    await memory.put(`requests/${id}`, Buffer.from(sha256([request.path, request.body])))
  } catch (error) {
    if (!(error instanceof KilnError) || error.code !== 'digest_mismatch') throw error
    throw new KilnError('refused', 'this Idempotency-Key was used for another request', {
      place: 'Idempotency-Key',
      fix: 'take a new key for a new request',
    })
  }
  return id
}

function sha256(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}
