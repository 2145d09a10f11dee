/**
 * Names inside tars are bytes. Kiln carries them as latin1 strings, one character a byte, so that
 * nothing is lost; people and JSON see the text forms that are made here.
 */
export type ByteName = string

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The UTF-8 text that a byte name is, or undefined when its bytes are no UTF-8. */
export function decodeName(name: ByteName): string | undefined {
  try {
    return utf8.decode(Buffer.from(name, 'latin1'))
  } catch {
    return undefined
  }
}

export function encodeName(text: string): ByteName {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/**
 * A text that `unescapeName` turns back: a backslash is doubled, control characters become `\xNN`, and so
 * does every byte above 0x7f of a name that is no UTF-8.
 */
export function escapeName(name: ByteName): string {
  const text = decodeName(name)
  const escaped = (text ?? name).replace(/\\/g, '\\\\').replace(controls, hex)
  return text === undefined ? escaped.replace(/[\u0080-\u00ff]/g, hex) : escaped
}

// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u001f\u007f]/g

function hex(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
}

export function unescapeName(text: string): ByteName {
  return text
    .split(/(\\\\|\\x[0-9a-f]{2})/)
    .map((part) => {
      if (part === '\\\\') return '\\'
      if (/^\\x[0-9a-f]{2}$/.test(part)) return String.fromCharCode(parseInt(part.slice(2), 16))
      return encodeName(part)
    })
    .join('')
}

/** How an error names the place: `entry app/../etc/passwd`. */
export function placeOf(name: ByteName): string {
  return `entry ${escapeName(name).slice(0, 300)}`
}
