import { expect, test } from 'vitest'
import { canonicalJson, digestOf, digestOfJson } from '../../signing/canonical.ts'
import { preAuthEncoding } from '../../signing/dsse.ts'
import { encodeLeaf, leafName, parseLeaf } from '../../signing/leaf.ts'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8')
const content = {
  digest: Buffer.alloc(32, 1),
  signature: Buffer.from('signature'),
  publicKey: Buffer.from('key'),
}

test('a leaf is the canonical hashedrekord 0.0.2', () => {
  expect(text(encodeLeaf(content))).toBe(
    `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":"${content.digest.toString('base64')}"},"signature":{"content":"c2lnbmF0dXJl","verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","publicKey":{"rawBytes":"a2V5"}}}}}}`,
  )
  expect(parseLeaf(encodeLeaf(content))).toEqual(content)
  expect(leafName(encodeLeaf(content))).toMatch(/^[0-9a-f]{64}$/)
})

const leaf = text(encodeLeaf(content))
test.each([
  ['a space', leaf.replace(':', ': ')],
  ['another version', leaf.replace('0.0.2', '0.0.1')],
  ['another key type', leaf.replace('P256_SHA_256', 'P384_SHA_384')],
  ['a field more', leaf.replace('{"api', '{"a":1,"api')],
  ['a field twice', leaf.replace('{"api', '{"apiVersion":"0.0.2","api')],
  ['a short digest', leaf.replace(content.digest.toString('base64'), 'AAAA')],
  ['loose base64', leaf.replace('a2V5', 'a2V5=')],
  ['no JSON', 'leaf'],
])('a leaf with %s is refused', (_what, bytes) => {
  expect(() => parseLeaf(Buffer.from(bytes))).toThrow(
    expect.objectContaining({ code: 'ledger_corrupt' }),
  )
})

test('the pre-authentication encoding is the protocol’s own example', () => {
  expect(text(preAuthEncoding('http://example.com/HelloWorld', Buffer.from('hello world')))).toBe(
    'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
  )
})

test('canonical JSON sorts, and refuses what JSON cannot hold', () => {
  expect(text(canonicalJson({ b: 1e21, a: '\u20ac' }))).toBe('{"a":"€","b":1e+21}')
  expect(digestOfJson({ b: 2, a: 1 })).toBe(digestOf(Buffer.from('{"a":1,"b":2}')))
  for (const bad of [undefined, { a: Number.NaN }, [Number.POSITIVE_INFINITY], '\ud800']) {
    expect(() => canonicalJson(bad)).toThrow(TypeError)
  }
})
