import { bundleToJSON } from '@sigstore/bundle'
import { DSSEBundleBuilder } from '@sigstore/sign'
import { expect, test } from 'vitest'
import { inTotoPayloadType } from '../../signing/dsse.ts'
import { keyHintOf, publicKeyOf } from '../../signing/public-key.ts'
import { signPayload } from '../../signing/sign.ts'
import { statementBytes } from '../../signing/statements.ts'
import { p256 } from '../helpers/signed-log.ts'
import { example } from './examples.ts'

test("a statement is signed over the bytes, and into the bundle, of Sigstore's own signer", async () => {
  const payload = statementBytes(example('sbom'), 'kiln.local')
  const key = p256()
  const signed: { data: Buffer; signature: Buffer }[] = []
  const sign = async (bytes: Uint8Array): Promise<Buffer> => {
    // ECDSA is randomised: the second is given what the first was.
    const signature = signed[0]?.signature ?? Buffer.from(await key.sign(bytes))
    signed.push({ data: Buffer.from(bytes), signature })
    return signature
  }
  const own = await signPayload(payload, { ...key, sign })

  const hint = keyHintOf(key.publicKey)
  const pem = String(publicKeyOf(key.publicKey).export({ format: 'pem', type: 'spki' }))
  const signer = {
    sign: async (data: Buffer) => ({
      signature: await sign(data),
      key: { $case: 'publicKey' as const, publicKey: pem, hint },
    }),
  }
  const builder = new DSSEBundleBuilder({ signer, witnesses: [] })
  const theirs = bundleToJSON(
    await builder.create({ data: Buffer.from(payload), type: inTotoPayloadType }),
  )
  expect(signed[0]?.data).toEqual(signed[1]?.data)
  // Kiln leaves out the keyid, which cosign refuses, and what is empty.
  expect(theirs).toMatchObject(own)
  expect(theirs.dsseEnvelope?.signatures).toEqual([
    { sig: own.dsseEnvelope.signatures[0].sig, keyid: hint },
  ])
})
