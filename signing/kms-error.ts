import { KilnError } from '../src/domain/error.ts'

/** What is to be done about an answer of KMS that is a no. */
const fixes: Readonly<Record<string, string>> = {
  AccessDeniedException: 'allow the signer kms:Sign and kms:GetPublicKey on this key',
  DisabledException: 'enable the key, or let another one follow: kiln signing rotate <role>',
  KMSInvalidStateException: 'enable the key, or let another one follow: kiln signing rotate <role>',
  NotFoundException: 'look at the ARN; if the key is gone: kiln signing rotate <role>',
  InvalidKeyUsageException: 'name a key of spec ECC_NIST_P256 and usage SIGN_VERIFY',
}
const credentials = "look at the signer's AWS credentials: docs/signing-keys.md"

/** Asking the same again may help. */
const passing = new Set([
  'ThrottlingException',
  'TooManyRequestsException',
  'DependencyTimeoutException',
  'KeyUnavailableException',
])

export function unusable(arn: string, message: string): KilnError {
  return new KilnError('refused', `the KMS key cannot be used: ${message}`, {
    place: arn,
    fix: 'name a key of spec ECC_NIST_P256 and usage SIGN_VERIFY: kiln signing rotate <role> --kms <arn>',
  })
}

/** Neither message nor cause is kept: AWS quotes headers of the request in them, its token among them. */
export function kmsError(arn: string, error: unknown): KilnError {
  if (error instanceof KilnError) return error
  const name = error instanceof Error ? error.name : 'unknown'
  if (isRefusal(statusOf(error), name)) {
    const fix = fixes[name] ?? credentials
    return new KilnError('refused', `KMS refused to use the key: ${name}`, { place: arn, fix })
  }
  if (name === 'CredentialsProviderError') {
    const message = 'no AWS credentials were found to ask KMS with'
    return new KilnError('signer_unavailable', message, { place: arn, fix: credentials })
  }
  return new KilnError('signer_unavailable', `KMS does not answer: ${name}`, {
    place: arn,
    fix: "it is asked again; look at the signer's network and at KMS in that region",
  })
}

function isRefusal(status: number | undefined, name: string): boolean {
  if (status === undefined || status === 429 || passing.has(name)) return false
  return status >= 400 && status < 500
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined
  return (error.$metadata as { httpStatusCode?: number }).httpStatusCode
}
