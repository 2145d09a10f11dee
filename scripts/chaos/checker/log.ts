import { createPublicKey, verify, type KeyObject } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { leafHashOf, sha256 } from './merkle.ts'

/**
 * The ledger as its files say, parsed from their documented formats alone (docs/formats.md): tiles of
 * entries, bundles by leaf, signed notes. What is wrong is collected in `faults`, never thrown.
 */
export type Statement = {
  subject: readonly { name: string; digest: { sha256: string } }[]
  predicateType: string
  predicate: Record<string, unknown>
}

export type Entry = { index: number; leaf: string; role: string; statement: Statement }
export type Note = { origin: string; size: number; root: string; signed: boolean }

export type Log = {
  /** Leaf hashes in log order. */
  hashes: readonly Buffer[]
  /** Those that Kiln's keys signed. */
  entries: readonly Entry[]
  /** The newest head. */
  head: Note
  faults: readonly string[]
  noteOf: (text: string) => Note
  blob: (digest: string) => Buffer | undefined
}

type Roles = {
  origin: string
  logKey: string
  roles: readonly { role: string; publicKey: string }[]
}

export function readLog({ store, trust }: { store: string; trust: string }): Log {
  const roles = JSON.parse(readFileSync(join(trust, 'roles.json'), 'utf8')) as Roles
  const logKey = publicKey(roles.logKey)
  const noteOf = (text: string) => parseNote(text, { origin: roles.origin, logKey })
  const head = noteOf(readFileSync(headOf(store), 'utf8'))
  const faults: string[] = []
  const bytes = readEntries(store, head.size, faults)
  const hashes = bytes.map(leafHashOf)
  const entries = bytes.flatMap((entry, index) => {
    const leaf = hashes[index]?.toString('hex') ?? ''
    const read = readEntry({ entry, leaf, store, roles })
    if (typeof read === 'string') faults.push(`entry ${index}: ${read}`)
    return typeof read === 'string' ? [] : [{ index, leaf, ...read }]
  })
  const blob = (digest: string) => readIf(join(store, 'blobs/sha256', digest.slice(7)))
  return { hashes, entries, head, faults, noteOf, blob }
}

/** The head's file: one that is written anew in a bucket, the highest of its generations in a folder. */
function headOf(store: string): string {
  const head = join(store, 'head')
  if (!statSync(head).isDirectory()) return head
  return join(head, readdirSync(head).toSorted().at(-1) ?? '')
}

function publicKey(base64: string): KeyObject {
  return createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' })
}

/** C2SP signed note: text, empty line, `— <origin> <base64 of key id and Ed25519 signature>`. */
function parseNote(text: string, log: { origin: string; logKey: KeyObject }): Note {
  const end = text.indexOf('\n\n')
  const signedText = text.slice(0, end + 1)
  const [origin = '', size = '', root = ''] = signedText.split('\n')
  const signatures = text
    .slice(end + 2)
    .split('\n')
    .filter((line) => line.startsWith(`— ${log.origin} `))
    .map((line) => Buffer.from(line.split(' ')[2] ?? '', 'base64').subarray(4))
  const signed =
    origin === log.origin &&
    signatures.some((signature) => verify(null, Buffer.from(signedText), log.logKey, signature))
  return { origin, size: Number(size), root, signed }
}

/** Tiles of 256 entries, the last one partial and possibly superseded by a wider one. */
function readEntries(store: string, size: number, faults: string[]): Buffer[] {
  const entries: Buffer[] = []
  for (let tile = 0; tile * 256 < size; tile += 1) {
    const width = Math.min(256, size - tile * 256)
    const found = readTile(store, tile, width)
    if (found.length < width) faults.push(`tile ${tile}: ${found.length} entries of ${width}`)
    entries.push(...found.slice(0, width))
  }
  return entries
}

function readTile(store: string, tile: number, width: number): Buffer[] {
  const groups = [String(tile % 1000).padStart(3, '0')]
  for (let rest = Math.floor(tile / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    groups.unshift(`x${String(rest % 1000).padStart(3, '0')}`)
  }
  const full = join(store, 'tile/entries', ...groups)
  const bytes = (width < 256 ? readIf(join(`${full}.p`, String(width))) : undefined) ?? readIf(full)
  if (bytes === undefined) return []
  const entries: Buffer[] = []
  for (let at = 0; at + 2 <= bytes.length;) {
    const end = at + 2 + bytes.readUInt16BE(at)
    if (end > bytes.length) return entries
    entries.push(bytes.subarray(at + 2, end))
    at = end
  }
  return entries
}

type Leaf = {
  spec: {
    hashedRekordV002: {
      data: { digest: string }
      signature: { content: string; verifier: { publicKey: { rawBytes: string } } }
    }
  }
}

type Bundle = {
  dsseEnvelope: { payload: string; payloadType: string; signatures: readonly { sig: string }[] }
}

/** The statement that a leaf stands for, or what is wrong with it. */
function readEntry(given: {
  entry: Buffer
  leaf: string
  store: string
  roles: Roles
}): { role: string; statement: Statement } | string {
  const { data, signature } = (JSON.parse(given.entry.toString('utf8')) as Leaf).spec
    .hashedRekordV002
  const key = signature.verifier.publicKey.rawBytes
  const role = given.roles.roles.find((one) => one.publicKey === key)?.role
  if (role === undefined) return 'signed by no key of Kiln'
  const bytes = readIf(join(given.store, 'bundles/leaf', given.leaf))
  if (bytes === undefined) return 'its bundle is missing'
  const { dsseEnvelope } = JSON.parse(bytes.toString('utf8')) as Bundle
  const payload = Buffer.from(dsseEnvelope.payload, 'base64')
  const signed = preAuthEncoding(dsseEnvelope.payloadType, payload)
  if (sha256(signed).toString('base64') !== data.digest) return 'its bundle is of another statement'
  if (dsseEnvelope.signatures[0]?.sig !== signature.content) return 'its bundle is signed otherwise'
  const right = verify('sha256', signed, publicKey(key), Buffer.from(signature.content, 'base64'))
  if (!right) return 'its signature is wrong'
  return { role, statement: JSON.parse(payload.toString('utf8')) as Statement }
}

/** DSSE v1: what the signature is over. */
function preAuthEncoding(type: string, payload: Buffer): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `
  return Buffer.concat([Buffer.from(head), payload])
}

export function readIf(path: string): Buffer | undefined {
  return existsSync(path) ? readFileSync(path) : undefined
}
