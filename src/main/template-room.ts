import { join } from 'node:path'
import { runCommand } from '../template/command.ts'
import type { TemplateRoom } from '../template/template-room.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Config } from './config.ts'

export function templateRoom(
  config: Config,
  store: BlobStore,
  onProgress: (line: string) => void,
): TemplateRoom {
  const { debianMirror } = config
  return {
    templatesFolder: config.templates,
    store,
    scratch: join(config.paths.work, 'templates'),
    run: runCommand,
    aptSources: debianMirror === undefined ? null : suitesOf(debianMirror),
    snapshot: config.debianSnapshot ?? null,
    onProgress,
  }
}

/** The one suite that templates may name, and its updates, from a mirror that has them. */
function suitesOf(mirror: string): string {
  return ['bookworm', 'bookworm-updates'].map((suite) => `deb ${mirror} ${suite} main`).join('\n')
}
