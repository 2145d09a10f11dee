import { z } from 'zod'
import { digestOfHex } from '../src/domain/digest.ts'
import { label, time } from './body-schemas.ts'
import { checkPart, type SignableOf, type Statement } from './statement.ts'

/** The SBOM statement's predicate is the CycloneDX document itself. https://cyclonedx.org/bom */

type Document = SignableOf<'sbom'>['document']

function metadataOf(document: Document): Record<string, unknown> {
  const { metadata } = document
  return typeof metadata === 'object' && metadata !== null ? { ...metadata } : {}
}

/** A document that has no time of its own gets the statement's. */
export function sbomPredicate(signable: SignableOf<'sbom'>): object {
  const metadata = { ...metadataOf(signable.document), timestamp: sbomTime(signable) }
  return { ...signable.document, metadata }
}

export function sbomTime(signable: SignableOf<'sbom'>): string {
  const { timestamp } = metadataOf(signable.document)
  return typeof timestamp === 'string' ? timestamp : signable.time
}

const documentSchema = z.looseObject({
  bomFormat: z.literal('CycloneDX'),
  metadata: z.looseObject({ timestamp: time }),
})

export function readSbom(statement: Statement): SignableOf<'sbom'> {
  const { metadata } = checkPart(documentSchema, statement.predicate, 'predicate')
  const [{ name, digest }] = statement.subject
  return {
    kind: 'sbom',
    time: metadata.timestamp,
    artifact: digestOfHex(digest.sha256),
    app: checkPart(label, name, 'subject.name'),
    document: { ...statement.predicate },
  }
}
