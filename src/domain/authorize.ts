import type { Principal } from './statement.ts'

/** Everything anyone may ask of Kiln. */
export const verbs = [
  'build',
  'rebuild',
  'watch',
  'promote',
  'rollback',
  'scale',
  'rotate',
  'replace',
  'release',
  'revoke',
  'scan',
  'break-glass',
  'rehearse',
  'cancel',
  'rotate-signing-key',
] as const
export type Verb = (typeof verbs)[number]

export type Verdict = { allowed: true } | { allowed: false; rule: string; message: string }

/**
 * Who may do what by themselves. `token` is the holder of the API token; `kiln` acts from a logged
 * cause (a new commit, an activation, a drift) and may never lift a hold or undo a person's decision.
 */
const may = {
  token: verbs,
  kiln: ['build', 'promote', 'replace'],
} as const satisfies Record<Principal['kind'], readonly Verb[]>

/**
 * The one authorisation function. Activities call it where effects begin, whatever door a request
 * came through; routes only find out who asks. Anything unknown is refused.
 */
export function authorize(principal: Principal, verb: Verb, resource: string): Verdict {
  const allowed: readonly Verb[] | undefined = Object.hasOwn(may, principal.kind)
    ? may[principal.kind]
    : undefined
  if (allowed?.includes(verb) === true && principal.name !== '') return { allowed: true }
  return {
    allowed: false,
    rule: `authorize.${verb}`,
    message: `${principal.name || 'nobody'} may not ${verb} ${resource}`,
  }
}
