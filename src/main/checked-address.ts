import { mayHoldSecret } from '../domain/address.ts'
import { KilnError } from '../domain/error.ts'

/**
 * Before an address gets into Temporal's histories. Throws `invalid_repository`, which does not repeat
 * it; every other fault of an address is found, and put on record, where it is read.
 */
export function assertNoSecret(repository: string): void {
  if (!mayHoldSecret(repository)) return
  throw new KilnError('invalid_repository', 'the address holds a user, a password or a token', {
    fix: 'write it without; give Kiln a token or a key by reference: kiln repository add --help',
  })
}
