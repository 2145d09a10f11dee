import { shortDigest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Artifact } from './ports.ts'

/** The hexadecimal characters of a digest, or of its beginning, as a path gives them. */
export function hexOfPrefix(text: string): string {
  return text.replace(/^sha256:/, '')
}

/** The one artifact that a beginning means; more than one is an error that names two of them. */
export function onlyArtifact(matches: readonly Artifact[], wanted: string): Artifact {
  const [first, second] = matches
  if (first === undefined) {
    throw new KilnError('not_found', `no sealed artifact begins with ${wanted}`, {
      fix: 'kiln history <app> lists what is sealed',
    })
  }
  if (second !== undefined) {
    throw new KilnError(
      'ambiguous',
      `${wanted} could be ${shortDigest(first.digest)} or ${shortDigest(second.digest)}`,
      { lines: matches.map(({ digest }) => digest), fix: 'write more characters' },
    )
  }
  return first
}
