/** Where a host finds a secret's value. The definition carries this and never the value. */
export type SecretReference = { from: 'file' | 'env'; name: string }

/** How a secret is called in the instance: `/run/secrets/<name>`. */
export const secretNameForm = /^[A-Z_][A-Z0-9_]{0,63}$/
export const mostSecrets = 32

const forms = {
  /** A file of this name in the host's folder of secrets. */
  file: /^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$/i,
  /** The variable `KILN_SECRET_<name>` of the host's worker. */
  env: secretNameForm,
} as const satisfies Record<SecretReference['from'], RegExp>

/** Undefined when the text is no reference. */
export function parseSecretReference(text: string): SecretReference | undefined {
  const colon = text.indexOf(':')
  const from = text.slice(0, Math.max(colon, 0))
  const name = text.slice(colon + 1)
  if ((from !== 'file' && from !== 'env') || name.length > 100 || !forms[from].test(name)) {
    return undefined
  }
  return { from, name }
}
