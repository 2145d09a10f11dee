/** What a Range header asks of content of `size` bytes; `end` is inclusive. */
export type ByteRange =
  | { kind: 'whole' }
  | { kind: 'part'; start: number; end: number }
  | { kind: 'unsatisfiable' }

const form = /^bytes=(\d{0,15})-(\d{0,15})$/

/** RFC 9110: one range is honoured; what is malformed, or asks for several, gets the whole. */
export function parseRange(header: string | undefined, size: number): ByteRange {
  const [, first = '', last = ''] = form.exec(header ?? '') ?? []
  if (first !== '') return fromStart(Number(first), last === '' ? Infinity : Number(last), size)
  return last === '' ? { kind: 'whole' } : suffix(Math.min(Number(last), size), size)
}

function fromStart(start: number, end: number, size: number): ByteRange {
  if (end < start) return { kind: 'whole' }
  if (start >= size) return { kind: 'unsatisfiable' }
  return { kind: 'part', start, end: Math.min(end, size - 1) }
}

function suffix(length: number, size: number): ByteRange {
  if (length === 0) return { kind: 'unsatisfiable' }
  return { kind: 'part', start: size - length, end: size - 1 }
}
