import { canonicalJson, digestOf } from '../../signing/canonical.ts'

/**
 * The rules that every promotion was judged by, as bytes: a provisioning key names their digest.
 * They are the checks of `planPromotion`; a change of those is a new version here.
 */
export const promotionPolicy = {
  name: 'promotion',
  bytes: canonicalJson({
    version: 1,
    rules: [
      'sealed',
      'not-denied',
      'environment-in-pipeline',
      'proved-in-previous-environment',
      'not-held-if-automatic',
    ],
  }),
} as const

export const promotionPolicyDigest = digestOf(promotionPolicy.bytes)
