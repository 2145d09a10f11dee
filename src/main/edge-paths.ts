import { join } from 'node:path'
import type { EdgePaths } from '../edge/master.ts'
import type { Paths } from './paths.ts'

export function edgePathsOf(paths: Paths): EdgePaths {
  return {
    config: join(paths.edge, 'haproxy.cfg'),
    state: join(paths.edge, 'state.json'),
    map: join(paths.edge, 'readiness.map'),
    socket: paths.haproxySocket,
    masterSocket: paths.haproxyMasterSocket,
  }
}

/** Which certificates the entrance serves, as the host last said; public facts only. */
export function certificateReportOf(paths: Paths): string {
  return join(paths.edge, 'certificates.json')
}
