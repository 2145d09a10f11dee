const part = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const hex = /^[0-9a-f]{64}$/

/**
 * The distribution specification's grammar of repository names, at most 255 characters. A part of 64
 * hexadecimal characters is refused, because such names are the store's markers.
 */
export function isRepositoryName(text: string): boolean {
  return text.length <= 255 && text.split('/').every((one) => part.test(one) && !hex.test(one))
}
