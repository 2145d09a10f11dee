import type { BlobStore } from '../store/blob-store.ts'
import type { Run } from './command.ts'

/** What the template room needs from outside; main builds it. */
export type TemplateRoom = {
  /** The folder that holds one folder for each template. */
  templatesFolder: string
  store: BlobStore
  /** Folder for temporary files; made when it is not there. */
  scratch: string
  run: Run
  /** sources.list lines instead of the machine's own apt sources; null: the machine's. */
  aptSources: string | null
  /** Address of a service with the interface of Debian's snapshot archive; null: there is none. */
  snapshot: string | null
  /** Told, in one line, what takes time. */
  onProgress: (line: string) => void
}
