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
  return {
    templatesFolder: config.templates,
    store,
    scratch: join(config.paths.work, 'templates'),
    run: runCommand,
    aptSources:
      config.debianMirror === undefined ? null : `deb ${config.debianMirror} bookworm main`,
    snapshot: null,
    onProgress,
  }
}
