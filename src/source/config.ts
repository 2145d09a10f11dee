const nameForm = /^[A-Z_][A-Z0-9_]{0,63}$/
const secretName =
  /(^|_)(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|(PRIVATE|API|ACCESS|SECRET)_?KEY)(_|$)/
const secretValue =
  /-----BEGIN |AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20}|glpat-[A-Za-z0-9_-]{20}|xox[baprs]-|eyJ[A-Za-z0-9_-]{10,}\.eyJ|:\/\/[^/\s:@]*:[^/\s:@]+@/

/** Why a setting may not stand in kiln.yaml, or undefined when it may. */
export function configFault(name: string, value: string): string | undefined {
  if (!nameForm.test(name)) return `${name} is not a name such as LOG_LEVEL`
  if (name === 'PORT' || name.startsWith('KILN_')) return `${name} is set by Kiln itself`
  if (name.startsWith('LD_')) return `${name} would change what the artifact runs`
  if (secretName.test(name)) {
    return `${name} looks like a secret: what stands in kiln.yaml is public to all who read it`
  }
  if (secretValue.test(value)) return `the value of ${name} looks like a secret`
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(value)) return `the value of ${name} holds a control character`
  return value.length > 4096 ? `the value of ${name} is longer than 4096` : undefined
}
