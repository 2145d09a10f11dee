import { covers, type GoodCertificate, type Judged } from '../../edge/certificate.ts'
import { judgeOffered, readOffered } from '../../edge/certificate-files.ts'
import { readState } from '../../edge/state.ts'
import { edgePathsOf } from '../edge-paths.ts'
import type { Config } from '../config.ts'
import { good, missing, warning, type Check } from './check.ts'

/** As `kiln status` warns. */
const renewBeforeMs = 14 * 24 * 3_600_000

/**
 * The operator's certificates for the entrance, judged as the host judges them, and the hosts of routes
 * that have none. Nothing without TLS. No line of a file is in a finding.
 */
export async function checkCertificates(
  { tlsFolder, paths }: Pick<Config, 'tlsFolder' | 'paths'>,
  now: Date,
): Promise<Check[]> {
  if (tlsFolder === undefined) return []
  try {
    const offered = await readOffered(tlsFolder)
    const judged = offered.map((one) => judgeOffered(one, now))
    const bare = await hostsWithout(judged, edgePathsOf(paths).state)
    if (judged.length === 0 && bare.length === 0) return [noneIn(tlsFolder)]
    return [
      ...judged.map((one) => judgeOne(one, now)),
      ...bare.map((host) => absent(host, tlsFolder)),
    ]
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error)
    const wanted = `${tlsFolder} readable, with <host>.pem for each host`
    const fix = `mkdir -p ${tlsFolder}, readable by the user that runs Kiln; or set KILN_TLS_FOLDER`
    return [missing({ name: 'certificates', found, wanted }, fix)]
  }
}

function judgeOne(one: Judged, now: Date): Check {
  const name = `certificate ${one.name}`
  const wanted = 'its key, for this host, valid for 14 days and more'
  if (one.kind === 'refused') {
    return missing({ name, found: `${one.fault}: ${one.message}`, wanted }, one.fix)
  }
  const finding = { name, found: `valid until ${one.expires}`, wanted }
  const left = Date.parse(one.expires) - now.getTime()
  if (left >= renewBeforeMs) return good(finding)
  return warning(finding, `renew it: put the new one into ${one.name}.pem, it is loaded by itself`)
}

/** Hosts that a route at the edge names and that no file is there for, good or bad. */
async function hostsWithout(judged: readonly Judged[], state: string): Promise<readonly string[]> {
  const { environments } = await readState(state)
  const hosts = environments.flatMap(({ servers }) =>
    servers.flatMap(({ route }) => route?.host ?? []),
  )
  const usable = judged.filter((one): one is GoodCertificate => one.kind === 'good')
  return [...new Set(hosts)]
    .filter((host) => !judged.some((one) => one.name === host))
    .filter((host) => !usable.some((one) => covers(one, host)))
    .toSorted()
}

function absent(host: string, folder: string): Check {
  const finding = {
    name: `certificate ${host}`,
    found: 'none: under TLS its route answers nobody',
    wanted: 'one for each host that a route names',
  }
  return missing(finding, `put ${host}.pem (certificate, chain, key) into ${folder}`)
}

function noneIn(folder: string): Check {
  const finding = { name: 'certificates', found: `none in ${folder}`, wanted: '<host>.pem' }
  return warning(finding, `put <host>.pem (certificate, chain, key) into ${folder}`)
}
