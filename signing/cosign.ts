/** The predicate type of provisioning keys, as cosign's --type takes it. */
const summaryType = 'https://slsa.dev/verification_summary/v1'

/**
 * The line with which anyone checks a provisioning key without Kiln. `reference` is
 * `host:port/name@sha256:…`. What cosign cannot say: environment, sequence and denials; `kiln verify` does.
 */
export function cosignCommand(options: { trust: string; reference: string }): readonly string[] {
  const { trust, reference } = options
  return [
    'cosign',
    'verify-attestation',
    '--key',
    `${trust}/promote.pub`,
    '--trusted-root',
    `${trust}/trusted_root.json`,
    '--type',
    summaryType,
    reference,
  ]
}
