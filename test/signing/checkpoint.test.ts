import { generateKeyPairSync, sign } from 'node:crypto'
import { expect, test } from 'vitest'
import {
  checkpointText,
  logId,
  parseCheckpoint,
  signCheckpoint,
  verifyCheckpoint,
} from '../../signing/checkpoint.ts'
import { rootOf } from '../../signing/merkle.ts'

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const origin = 'kiln.local'
const checkpoint = { origin, size: 42, root: rootOf([]) }
const note = signCheckpoint(checkpoint, privateKey)
const log = { origin, publicKey }

test('a signed checkpoint is read back', () => {
  expect(verifyCheckpoint(note, log)).toEqual(checkpoint)
  expect(signCheckpoint(checkpoint, privateKey)).toBe(note)
  expect(note.startsWith(`${checkpointText(checkpoint)}\n— ${origin} `)).toBe(true)
  const [line] = parseCheckpoint(note).signatures
  expect(line?.keyId).toEqual(Buffer.from(logId(origin, publicKey)).subarray(0, 4))
})

test("a witness's line beside the log's own is ignored", () => {
  const witnessed = `${note}— witness.example AAAAAAAAAAA=\n`
  expect(verifyCheckpoint(witnessed, log)).toEqual(checkpoint)
})

const other = generateKeyPairSync('ed25519')

/** The log's key under the log's name, but over a text of another origin. */
function crossSigned(): string {
  const text = checkpointText({ ...checkpoint, origin: 'other.local' })
  const signature = sign(null, Buffer.from(text), privateKey)
  const id = Buffer.from(logId(origin, publicKey)).subarray(0, 4)
  return `${text}\n— ${origin} ${Buffer.concat([id, signature]).toString('base64')}\n`
}

test.each([
  ['another key', signCheckpoint(checkpoint, other.privateKey)],
  ['another origin', signCheckpoint({ ...checkpoint, origin: 'other.local' }, privateKey)],
  ['another origin under the log’s own name', crossSigned()],
  ['another size', note.replace('\n42\n', '\n43\n')],
  ['a size with a zero before it', note.replace('\n42\n', '\n042\n')],
  ['a size beyond safe integers', note.replace('\n42\n', '\n9007199254740993\n')],
  ['an extension line', note.replace('\n42\n', '\n42\nextension\n')],
  ['no signature', checkpointText(checkpoint)],
  ['its line twice', `${note}${note.slice(note.indexOf('—'))}`],
  ['a last line without its end', note.slice(0, -1)],
  ['a root of another spelling', note.replace('=\n\n', '\n\n')],
  ['nothing', ''],
  ['too much', note + 'x'.repeat(20_000)],
])('a checkpoint with %s is refused', (_what, text) => {
  expect(() => verifyCheckpoint(text, log)).toThrow(
    expect.objectContaining({ code: 'verification_failed' }),
  )
})
