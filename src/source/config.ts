import { isPlainLine } from '../domain/plain.ts'
import { parseSecretReference, secretNameForm } from '../domain/secret.ts'
import { secretShape } from './secret-shape.ts'

const secretName =
  /(^|_)(PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|SECRETS?|TOKENS?|CREDENTIALS?|(PRIVATE|API|ACCESS|SECRET|SIGNING|ENCRYPTION|MASTER|ACCOUNT)_?KEY|APIKEY|AUTH|PAT|DSN|PEM|JWT)(_|$)/

/** A path to a secret's file, or a number about secrets, is none itself. */
const aboutSecrets = [
  { name: /_(FILE|PATH|DIR)$/, value: /^\/[A-Za-z0-9._/-]+$/ },
  {
    name: /_(TTL|AGE|EXPIRY|LENGTH|LIMIT|COUNT|SECONDS|MINUTES|HOURS|DAYS|ROUNDS)$/,
    value: /^\d{1,9}(ms|s|m|h|d)?$/,
  },
] as const

/** Why a setting may not stand in kiln.yaml, or undefined when it may. Never repeats the value. */
export function configFault(name: string, value: string): string | undefined {
  if (!secretNameForm.test(name)) return `${name} is not a name such as LOG_LEVEL`
  if (name === 'PORT' || name.startsWith('KILN_')) return `${name} is set by Kiln itself`
  if (name.startsWith('LD_')) return `${name} would change what the artifact runs`
  const shape = secretShape(value)
  if (shape !== undefined) return `the value of ${name} looks like ${shape}; ${wayOut(name)}`
  if (secretName.test(name) && !isAboutSecrets(name, value)) {
    return `${name} looks like a secret: what stands in kiln.yaml is public to all who read it; ${wayOut(name)}`
  }
  if (!isPlainLine(value)) return `the value of ${name} holds a control character or half a letter`
  return value.length > 4096 ? `the value of ${name} is longer than 4096` : undefined
}

function isAboutSecrets(name: string, value: string): boolean {
  return aboutSecrets.some((one) => one.name.test(name) && one.value.test(value))
}

function wayOut(name: string): string {
  const file = name.toLowerCase().replaceAll('_', '-').replace(/^-+/, '')
  return `write secrets: { ${name}: 'file:${file}' } instead, and the app reads /run/secrets/${name}`
}

/** Why an entry of `secrets` may not stand in kiln.yaml, or undefined when it may. Never repeats the value. */
export function secretFault(name: string, reference: string): string | undefined {
  if (!secretNameForm.test(name)) return `${name} is not a name such as DB_PASSWORD`
  if (parseSecretReference(reference) !== undefined) return undefined
  return `the value of ${name} is no reference: write file:<name> or env:<NAME>, never the secret itself`
}
