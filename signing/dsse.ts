/** The payload type of every envelope that Kiln signs. */
export const inTotoPayloadType = 'application/vnd.in-toto+json'

/** What a DSSE signature is over: the protocol's pre-authentication encoding, v1. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = Buffer.from(payloadType, 'utf8')
  return Buffer.concat([
    Buffer.from(`DSSEv1 ${type.length} `, 'utf8'),
    type,
    Buffer.from(` ${payload.length} `, 'utf8'),
    payload,
  ])
}

/** A DSSE envelope with its one signature (P-256, DER). */
export type Envelope = { payloadType: string; payload: Uint8Array; signature: Uint8Array }
