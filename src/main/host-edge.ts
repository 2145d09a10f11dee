import type { Logger } from 'pino'
import { openEdge } from '../edge/edge.ts'
import { watchCertificates } from '../edge/watch-certificates.ts'
import type { Config } from './config.ts'
import { portsOf } from './host-memory.ts'
import { certificateReportOf, edgePathsOf } from './edge-paths.ts'

type Shared = { logger: Logger; now: () => Date; crashPoint: (name: string) => void }

/** The host's edge: what its activities need of it, and what it does by itself. */
export function openHostEdge(config: Config, { logger, now, crashPoint }: Shared) {
  const { entrance, ports, tlsFolder } = config
  const paths = edgePathsOf(config.paths)
  const edge = openEdge({ paths, entrance }, crashPoint)
  return {
    settings: {
      paths,
      entrance,
      edge,
      ports: portsOf(ports),
    },
    /** Keeps the entrance's certificates as the operator's folder has them. */
    async watch(signal: AbortSignal): Promise<void> {
      if (entrance.tls === null || tlsFolder === undefined) return
      const report = certificateReportOf(config.paths)
      await watchCertificates(
        { edge, tls: entrance.tls, folder: tlsFolder, report, logger, now },
        signal,
      )
    },
  }
}
