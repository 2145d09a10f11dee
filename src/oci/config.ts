import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Source } from '../domain/statement.ts'
import type { ImageConfig } from './image.ts'
import type { EngineConfig } from './read-image.ts'

/** `uid` or `uid:gid`, and not root: a name would mean whatever the image's own /etc/passwd says. */
const numericUser = /^[1-9][0-9]{0,9}(:[0-9]{1,10})?$/

export const repositoryLabel = 'org.opencontainers.image.source'

/** What an artifact's config says of where it comes from. */
export type ArtifactFacts = {
  app: string
  source: Source
  /**
   * Only to make an artifact again that says so: until 0.1.0 the config named the repository's address,
   * and one commit read through two addresses had two digests (ADR 6).
   */
  namesRepository?: boolean
}

/**
 * The config of the artifact: an allow-list of what the engine's says, and the commit's time. Throws
 * `invalid_image` when it would run as root or as somebody with a name.
 */
export function artifactConfig(
  engine: EngineConfig,
  facts: ArtifactFacts & { diffIds: readonly Digest[] },
): ImageConfig {
  const { source, diffIds } = facts
  const created = timeText(source.committedAt)
  const { User, Env, Entrypoint, Cmd, WorkingDir, StopSignal } = engine.config ?? {}
  if (!numericUser.test(User ?? '')) {
    throw new KilnError('invalid_image', `the image would run as ${JSON.stringify(User ?? '')}`, {
      place: 'Dockerfile USER',
      fix: 'end the template with a numeric user that is not root, for example USER 901:901',
    })
  }
  return {
    architecture: engine.architecture,
    os: 'linux',
    created,
    config: {
      User: User ?? '',
      ...(Env ? { Env } : {}),
      ...(Entrypoint ? { Entrypoint } : {}),
      ...(Cmd ? { Cmd } : {}),
      ...(WorkingDir ? { WorkingDir } : {}),
      ...(StopSignal ? { StopSignal } : {}),
      Labels: labelsOf(facts, created),
    },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: diffIds.map(() => ({ created, created_by: 'kiln' })),
  }
}

function labelsOf(
  { app, namesRepository = false, source }: ArtifactFacts,
  created: string,
): Record<string, string> {
  return {
    'org.opencontainers.image.created': created,
    'org.opencontainers.image.revision': source.commit,
    ...(namesRepository ? { [repositoryLabel]: source.repository } : {}),
    'org.opencontainers.image.title': app,
  }
}

/** RFC 3339 in whole seconds. */
function timeText(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')
}
