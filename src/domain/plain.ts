/** No control characters, and none that turn the direction of what stands around them. */
// oxlint-disable-next-line no-control-regex
export const plainLine = /^[^\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]*$/

/** Whether text means the same to whoever reads, signs or shows it: one line, and every letter a whole one. */
export function isPlainLine(text: string): boolean {
  return text.isWellFormed() && plainLine.test(text)
}

/**
 * Whether a number is written so that every reader of YAML takes it for the same one: `010` is eight to
 * some and ten to others, and what `0x1F`, `1e3` and `+1` are differs as well.
 */
export function isPlainNumber(source: string): boolean {
  return /^-?(0|[1-9][0-9]*)?(\.[0-9]+)?$/.test(source) && source !== '-0'
}
