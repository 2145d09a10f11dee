import type { FactKind } from './statement.ts'

/** Signing roles, one signing key each. Consumers outside Kiln pin `promote` and nothing else. */
export const roles = ['root', 'build', 'test', 'promote', 'deny', 'record'] as const
export type Role = (typeof roles)[number]

/** Which role may sign which kind of statement: the signer refuses by it, every reader ignores by it. */
export const roleOf = {
  roles: 'root',
  provenance: 'build',
  sbom: 'build',
  sealed: 'record',
  rejected: 'record',
  change: 'record',
  key: 'promote',
  activation: 'record',
  drift: 'record',
  release: 'record',
  refusal: 'record',
  'break-glass': 'record',
  denial: 'deny',
} as const satisfies Record<FactKind, Role>

/** The in-toto predicate type of each kind. Kiln's own live under the log's origin. */
export function predicateTypeOf(kind: FactKind, origin: string): string {
  switch (kind) {
    case 'provenance':
      return 'https://slsa.dev/provenance/v1'
    case 'sbom':
      return 'https://cyclonedx.org/bom'
    case 'key':
    case 'denial':
      return 'https://slsa.dev/verification_summary/v1'
    case 'sealed':
    case 'rejected':
      return `https://${origin}/artifact/v1`
    case 'roles':
    case 'change':
    case 'activation':
    case 'drift':
    case 'release':
    case 'refusal':
    case 'break-glass':
      return `https://${origin}/${kind}/v1`
  }
}
