import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { KilnError } from '../src/domain/error.ts'
import { fromBase64, toBase64 } from './base64.ts'
import { sha256 } from './canonical.ts'
import { hashSize } from './merkle.ts'

/**
 * The log's signed head: a C2SP tlog-checkpoint in a signed note, Ed25519.
 * https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note
 */
export type Checkpoint = { origin: string; size: number; root: Uint8Array }

type NoteSignature = { name: string; keyId: Uint8Array; signature: Uint8Array }

export type SignedNote = {
  checkpoint: Checkpoint
  /** The signed text, its last newline included. */
  text: string
  signatures: readonly NoteSignature[]
}

const maxNoteBytes = 16_384
const ed25519 = 0x01

/** A bare host name: cosign fails on an origin with a port or a path. */
export function isOrigin(text: string): boolean {
  return /^[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?$/.test(text)
}

export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`
}

/** The raw 32 bytes of an Ed25519 public key. */
function rawEd25519(key: KeyObject): Uint8Array {
  const { x, crv } = key.export({ format: 'jwk' })
  if (crv !== 'Ed25519' || x === undefined) {
    throw new KilnError('verification_failed', 'the log key is not an Ed25519 key')
  }
  return Buffer.from(x, 'base64url')
}

/** The log's id, 32 bytes; its first four stand on the checkpoint's signature line. */
export function logId(origin: string, publicKey: KeyObject): Uint8Array {
  return sha256(
    Buffer.concat([Buffer.from(`${origin}\n`), Uint8Array.of(ed25519), rawEd25519(publicKey)]),
  )
}

/** The log's verifier key as signed-note tools take it: `<origin>+<first four bytes of the id>+<key>`. */
export function verifierKey(origin: string, publicKey: KeyObject): string {
  const id = Buffer.from(logId(origin, publicKey)).subarray(0, 4).toString('hex')
  return `${origin}+${id}+${toBase64(Buffer.concat([Uint8Array.of(ed25519), rawEd25519(publicKey)]))}`
}

/** What a log's checkpoints are checked with. */
export type LogKey = { origin: string; publicKey: KeyObject }

/** Reads what `verifierKey` writes. Throws `invalid_input` on any other form. */
export function parseVerifierKey(text: string): LogKey {
  const [, origin = '', id = '', encoded = ''] =
    /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim()) ?? []
  const bytes = fromBase64(encoded)
  if (bytes?.length === 33 && bytes[0] === ed25519 && isOrigin(origin)) {
    const x = Buffer.from(bytes.subarray(1)).toString('base64url')
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    if (Buffer.from(logId(origin, publicKey)).toString('hex').startsWith(id)) {
      return { origin, publicKey }
    }
  }
  throw new KilnError('invalid_input', 'not a verifier key of a log: <origin>+<id>+<base64>')
}

/** Signs a checkpoint with the log's private key; the same checkpoint gives the same note. */
export function signCheckpoint(checkpoint: Checkpoint, privateKey: KeyObject): string {
  const text = checkpointText(checkpoint)
  const id = logId(checkpoint.origin, createPublicKey(privateKey)).subarray(0, 4)
  const signature = sign(null, Buffer.from(text), privateKey)
  return `${text}\n— ${checkpoint.origin} ${toBase64(Buffer.concat([id, signature]))}\n`
}

function malformed(what: string): KilnError {
  return new KilnError('verification_failed', `malformed checkpoint: ${what}`)
}

/** Reads a note without checking its signatures. Throws `verification_failed` on any other spelling. */
export function parseCheckpoint(note: string): SignedNote {
  if (note.length > maxNoteBytes) throw malformed('too long')
  const split = note.indexOf('\n\n')
  if (split < 0) throw malformed('no signatures')
  const text = note.slice(0, split + 1)
  return {
    checkpoint: parseText(text),
    text,
    signatures: parseSignatures(note.slice(split + 2)),
  }
}

function parseText(text: string): Checkpoint {
  const [, origin = '', size = '', root = ''] = /^([^\n]+)\n([^\n]+)\n([^\n]+)\n$/.exec(text) ?? []
  if (!isOrigin(origin)) throw malformed('origin')
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size) || !Number.isSafeInteger(Number(size))) {
    throw malformed('size')
  }
  const bytes = fromBase64(root)
  if (bytes?.length !== hashSize) throw malformed('root')
  return { origin, size: Number(size), root: bytes }
}

function parseSignatures(block: string): readonly NoteSignature[] {
  if (!block.endsWith('\n')) throw malformed('signature line')
  return block
    .slice(0, -1)
    .split('\n')
    .map((line) => {
      const [, name, encoded] = /^— ([^ +]+) ([A-Za-z0-9+/=]+)$/.exec(line) ?? []
      const bytes = encoded === undefined ? null : fromBase64(encoded)
      if (name === undefined || bytes === null || bytes.length < 5) {
        throw malformed('signature line')
      }
      return { name, keyId: bytes.subarray(0, 4), signature: bytes.subarray(4) }
    })
}

/**
 * The checkpoint of a note that the log's key signed for this origin. Other signatures (witnesses)
 * are ignored, a bad one by the log's key is not. Throws `verification_failed`.
 */
export function verifyCheckpoint(
  note: string,
  log: { origin: string; publicKey: KeyObject },
): Checkpoint {
  const { checkpoint, text, signatures } = parseCheckpoint(note)
  if (checkpoint.origin !== log.origin) {
    throw new KilnError(
      'verification_failed',
      `the checkpoint is of ${checkpoint.origin}, wanted ${log.origin}`,
    )
  }
  const id = logId(log.origin, log.publicKey).subarray(0, 4)
  const own = signatures.filter(
    (one) => one.name === log.origin && Buffer.compare(one.keyId, id) === 0,
  )
  const [only] = own
  if (only === undefined || own.length !== 1) {
    throw new KilnError('verification_failed', 'the checkpoint is not signed by the log')
  }
  if (!verify(null, Buffer.from(text), log.publicKey, only.signature)) {
    throw new KilnError('verification_failed', "the checkpoint's signature is wrong")
  }
  return checkpoint
}
