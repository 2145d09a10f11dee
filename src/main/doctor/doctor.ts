import { connect } from 'node:net'
import { statSync } from 'node:fs'
import type { Config } from '../config.ts'
import { readSupervisorState } from '../supervisor/state.ts'
import { good, missing, type Check } from './check.ts'
import { checkCertificates } from './certificates.ts'
import { checkEngines } from './engine.ts'
import { checkHome, checkPorts, judgeClock } from './machine.ts'
import { checkNode, checkProgram, haproxy, temporal, tools } from './programs.ts'
import { checkSigningKeys } from './signing-keys.ts'
import { checkTemplates } from './templates.ts'

export type DoctorDependencies = {
  config: Config
  /** What the processes would be given; PATH above all. */
  environment: Readonly<Record<string, string | undefined>>
  /** `process.versions.node`. */
  nodeVersion: string
  now: () => Date
}

/** Looks at every prerequisite of Kiln on this machine. Changes nothing; a failed look is a finding. */
export async function runDoctor(dependencies: DoctorDependencies): Promise<readonly Check[]> {
  const { config, environment, nodeVersion, now } = dependencies
  const running = readSupervisorState(config.home).kind === 'running'
  const written = statSync(import.meta.filename).mtime
  return [
    checkNode(nodeVersion),
    ...(await checkEngines(config)),
    await checkProgram(haproxy, environment),
    await checkTemporal(config.temporal, environment),
    ...(await Promise.all(tools.map((tool) => checkProgram(tool, environment)))),
    ...checkHome(config.home, config.minFree),
    await checkPorts(portsOf(config), running),
    ...(await checkCertificates(config, now())),
    ...(await checkSigningKeys(config)),
    judgeClock(now(), written),
    checkTemplates(config.templates),
  ]
}

/** Those of the entrance's TLS only where there is one. */
function portsOf({ ports, entrance }: Config): Readonly<Record<string, number>> {
  const { edgeFirst: _first, edgeLast: _last, ...fixed } = ports
  return entrance.tls === null ? fixed : { ...fixed, tls: entrance.tls.port }
}

async function checkTemporal(
  { kind, address }: Config['temporal'],
  environment: DoctorDependencies['environment'],
): Promise<Check> {
  if (kind === 'own') return checkProgram(temporal, environment)
  const wanted = `a server at ${address}`
  if (await accepts(address)) return good({ name: 'Temporal', found: 'it accepts', wanted })
  const fix = 'start that server, or unset KILN_TEMPORAL_ADDRESS'
  return missing({ name: 'Temporal', found: 'no answer', wanted }, fix)
}

function accepts(address: string): Promise<boolean> {
  const colon = address.lastIndexOf(':')
  const [host, port] = [address.slice(0, colon), Number(address.slice(colon + 1))]
  return new Promise((resolve) => {
    const socket = connect({ host, port, signal: AbortSignal.timeout(3000) })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
