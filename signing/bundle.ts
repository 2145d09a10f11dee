import { z } from 'zod'
import { KilnError } from '../src/domain/error.ts'
import { fromBase64, toBase64 } from './base64.ts'
import { canonicalJson } from './canonical.ts'
import { logId, parseCheckpoint } from './checkpoint.ts'
import { inTotoPayloadType, type Envelope } from './dsse.ts'
import { leafOfEnvelope } from './leaf.ts'
import { hashSize } from './merkle.ts'
import { publicKeyOf } from './public-key.ts'

export const bundleMediaType = 'application/vnd.dev.sigstore.bundle.v0.3+json'

/** 4 MB in base64, and what stands around it. */
const maxBundleBytes = 6 * 1024 * 1024

const base64 = z.string().refine((text) => fromBase64(text) !== null, 'not canonical base64')
const hash = base64.refine((text) => fromBase64(text)?.length === hashSize, 'not 32 bytes')
const count = z
  .string()
  .regex(/^(0|[1-9][0-9]{0,15})$/)
  .refine((text) => Number.isSafeInteger(Number(text)), 'not a safe integer')

const entrySchema = z.strictObject({
  logIndex: count,
  logId: z.strictObject({ keyId: hash }),
  kindVersion: z.strictObject({ kind: z.literal('hashedrekord'), version: z.literal('0.0.2') }),
  inclusionProof: z.strictObject({
    logIndex: count,
    rootHash: hash,
    treeSize: count,
    hashes: z.array(hash).max(64),
    checkpoint: z.strictObject({ envelope: z.string().max(16_384) }),
  }),
  canonicalizedBody: base64,
})

const envelopeSchema = z.strictObject({
  payload: base64,
  payloadType: z.literal(inTotoPayloadType),
  // No keyid: cosign refuses an envelope whose keyid is not the one it derives itself.
  signatures: z.tuple([z.strictObject({ sig: base64 })]),
})

const signedSchema = z.strictObject({
  mediaType: z.literal(bundleMediaType),
  verificationMaterial: z.strictObject({ publicKey: z.strictObject({ hint: hash }) }),
  dsseEnvelope: envelopeSchema,
})

const loggedSchema = signedSchema.extend({
  verificationMaterial: z.strictObject({
    publicKey: z.strictObject({ hint: hash }),
    tlogEntries: z.tuple([entrySchema]),
  }),
})

/** A Sigstore bundle v0.3, as JSON, that is not in the log yet: what the signer answers. */
export type SignedBundle = z.infer<typeof signedSchema>

/** The same with its one log entry: what is published and verified. */
export type LoggedBundle = z.infer<typeof loggedSchema>

/** A transparency log entry as Rekor v2 answers it. */
export type BundleEntry = z.infer<typeof entrySchema>

/** A bundle's one byte form, RFC 8785: what is stored and what its digest is of. */
export function bundleBytes(bundle: SignedBundle | LoggedBundle): Uint8Array {
  return canonicalJson(bundle)
}

function bad(place: string, message: string): KilnError {
  return new KilnError('verification_failed', `not a bundle of Kiln's: ${message}`, { place })
}

function checked<T>(schema: z.ZodType<T>, json: unknown): T {
  const parsed = schema.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw bad(['bundle', ...(issue?.path ?? [])].join('.'), issue?.message ?? 'unreadable')
}

function fromBytes(bytes: Uint8Array): unknown {
  if (bytes.length > maxBundleBytes) throw bad('bundle', 'too long')
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    // Any other spelling (a key twice, above all) could mean something else to another reader.
    if (Buffer.compare(canonicalJson(json), bytes) === 0) return json
  } catch {
    throw bad('bundle', 'not JSON')
  }
  throw bad('bundle', 'not canonical JSON (RFC 8785)')
}

/** Throws `verification_failed`, with the field in `place`, on anything but exactly this form. */
export function checkSignedBundle(json: unknown): SignedBundle {
  return checked(signedSchema, json)
}

/** As `checkSignedBundle`, with exactly one log entry. */
export function checkLoggedBundle(json: unknown): LoggedBundle {
  return checked(loggedSchema, json)
}

export function parseSignedBundle(bytes: Uint8Array): SignedBundle {
  return checkSignedBundle(fromBytes(bytes))
}

export function parseLoggedBundle(bytes: Uint8Array): LoggedBundle {
  return checkLoggedBundle(fromBytes(bytes))
}

/** The envelope inside a checked bundle. */
export function envelopeOf(bundle: SignedBundle | LoggedBundle): Envelope {
  const { payload, payloadType, signatures } = bundle.dsseEnvelope
  return {
    payloadType,
    payload: Buffer.from(payload, 'base64'),
    signature: Buffer.from(signatures[0].sig, 'base64'),
  }
}

export function withoutLogEntry(bundle: LoggedBundle): SignedBundle {
  const { publicKey } = bundle.verificationMaterial
  return { ...bundle, verificationMaterial: { publicKey } }
}

/** Where a leaf stands in the log. `checkpoint` is the signed note whose root the proof leads to. */
export type LogPlace = {
  index: number
  proof: readonly Uint8Array[]
  checkpoint: string
  /** The log's key, SPKI DER. */
  logKey: Uint8Array
}

/** The same of a signed statement; `roleKey` signed the envelope, SPKI DER: the leaf names it. */
export type LogEntry = LogPlace & { roleKey: Uint8Array }

/** What is told of a leaf that stands in the log. Checks nothing. */
export function logEntryOf(leaf: Uint8Array, place: LogPlace): BundleEntry {
  const { origin, size, root } = parseCheckpoint(place.checkpoint).checkpoint
  const index = String(place.index)
  return {
    logIndex: index,
    logId: { keyId: toBase64(logId(origin, publicKeyOf(place.logKey))) },
    kindVersion: { kind: 'hashedrekord', version: '0.0.2' },
    inclusionProof: {
      logIndex: index,
      rootHash: toBase64(root),
      treeSize: String(size),
      hashes: place.proof.map(toBase64),
      checkpoint: { envelope: place.checkpoint },
    },
    canonicalizedBody: toBase64(leaf),
  }
}

/** The bundle with its log entry. Checks nothing: read it back with `verifyBundle`. */
export function attachLogEntry(bundle: SignedBundle, entry: LogEntry): LoggedBundle {
  const logged = logEntryOf(leafOfEnvelope(envelopeOf(bundle), entry.roleKey), entry)
  const { publicKey } = bundle.verificationMaterial
  return { ...bundle, verificationMaterial: { publicKey, tlogEntries: [logged] } }
}
