declare const checked: unique symbol

/** A content address that has been checked, `sha256:<64 hex>`; the only way to get one is `parseDigest`. */
export type Digest = string & { readonly [checked]: 'sha256' }

const form = /^sha256:[0-9a-f]{64}$/

export function isDigest(text: string): text is Digest {
  return form.test(text)
}

export function parseDigest(text: string): Digest {
  if (!isDigest(text))
    throw new TypeError(`not a sha256 digest: ${JSON.stringify(text).slice(0, 100)}`)
  return text
}

/** The 64 hexadecimal characters of a digest, as in-toto subjects carry them. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length)
}

export function digestOfHex(hex: string): Digest {
  return parseDigest(`sha256:${hex}`)
}

/** The form people read: twelve characters. */
export function shortDigest(digest: Digest): string {
  return hexOf(digest).slice(0, 12)
}
