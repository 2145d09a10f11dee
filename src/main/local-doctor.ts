import type { Prerequisite } from '../cli/local-port.ts'
import type { Config } from './config.ts'
import { runDoctor } from './doctor/doctor.ts'

export function localDoctor(
  config: Config,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<readonly Prerequisite[]> {
  return runDoctor({
    config,
    environment,
    nodeVersion: process.versions.node,
    now: () => new Date(),
  })
}
