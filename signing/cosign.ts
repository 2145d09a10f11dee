/** The predicate type of provisioning keys, as cosign's --type takes it. */
const summaryType = 'https://slsa.dev/verification_summary/v1'

/**
 * The line with which anyone checks a provisioning key without Kiln, for a POSIX shell. `reference` is
 * `host:port/name@sha256:…`, `trust` the folder of public keys, `key` the file in it, `dockerConfig` the folder with the
 * registry's sign-in. It needs no network but the registry's. What cosign cannot say: environment,
 * sequence and denials; `kiln verify` does.
 */
export function cosignCommand(options: {
  trust: string
  key: string
  reference: string
  dockerConfig?: string
}): string {
  const { trust, key, reference, dockerConfig } = options
  const signIn = dockerConfig === undefined ? [] : [`DOCKER_CONFIG=${quote(dockerConfig)}`]
  const flags = [
    ['--key', `${trust}/${key}`],
    ['--trusted-root', `${trust}/trusted_root.json`],
    ['--type', summaryType],
  ].map(([flag, value]) => `${flag} ${quote(value ?? '')}`)
  return [...signIn, 'cosign verify-attestation', ...flags, quote(reference)].join(' ')
}

function quote(text: string): string {
  return /^[A-Za-z0-9_./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
