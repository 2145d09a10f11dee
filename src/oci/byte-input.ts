/** Reads a stream of chunks by counted bytes. */
export type ByteInput = {
  /** The next `count` bytes, fewer only at the end of the stream. */
  take(count: number): Promise<Buffer>
  /** The next bytes as they come, at most `most`; empty only at the end. */
  some(most: number): Promise<Uint8Array>
  /** Ends the stream early and frees what is behind it. */
  close(): Promise<void>
}

export function byteInput(source: AsyncIterable<Uint8Array>): ByteInput {
  const iterator = source[Symbol.asyncIterator]()
  let chunk: Uint8Array = new Uint8Array()
  let ended = false

  async function some(most: number): Promise<Uint8Array> {
    while (chunk.length === 0 && !ended) {
      const next = await iterator.next()
      if (next.done === true) ended = true
      else chunk = next.value
    }
    const slice = chunk.subarray(0, most)
    chunk = chunk.subarray(slice.length)
    return slice
  }

  return {
    some,
    async take(count) {
      const first = Buffer.from(await some(count))
      if (first.length === count) return first
      const parts = [first]
      for (let missing = count - first.length; missing > 0;) {
        const next = await some(missing)
        if (next.length === 0) break
        parts.push(Buffer.from(next))
        missing -= next.length
      }
      return Buffer.concat(parts)
    },
    async close() {
      await iterator.return?.()
    },
  }
}
