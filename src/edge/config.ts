import type { EnvironmentName } from '../domain/name.ts'
import type { EdgeEnvironment, EdgeServer, EdgeState } from './state.ts'

/** Loopback only: what is in front of Kiln is the operator's business. */
export const edgeAddress = '127.0.0.1'

/** How long HAProxy keeps an idle client, and with it a worker that a reload replaced. */
export const idleClientMs = 10_000

/** Relative to the configuration's folder, as HAProxy is told below. */
export const mapName = 'readiness.map'

export function frontendName(environment: EnvironmentName): string {
  return `fe:${environment.replace('/', '.')}`
}

export function backendName(environment: EnvironmentName): string {
  return `be:${environment.replace('/', '.')}`
}

/** A server's full weight; one that joins or leaves has 0 in the file, so that a restart sends it nothing. */
export const fullWeight = 100

/** Check settings of a server; `default-server` does not reach servers that are added at run time. */
export function checkOptions({ intervalMs }: EdgeServer): string {
  return `check inter ${intervalMs}ms rise 1 fall 3`
}

/** Which path each server's readiness check asks for: servers of two definitions stand side by side. */
export function renderMap(state: EdgeState): string {
  return state.environments
    .flatMap(({ servers }) => servers)
    .map(({ name, path }) => `${name} ${path}\n`)
    .join('')
}

/**
 * HAProxy's whole configuration. Pure: the same state gives the same bytes.
 *
 * - `http-server-close`: an instance's own idle timeout can then never cut a request that was just sent.
 * - `idle-close-on-response`: a reload answers an idle client's next request before it closes.
 * - `timeout check`: without it a check has only its interval, and a busy machine looks like a dead one.
 * - `noreuseport`: a second HAProxy on the same port is refused, instead of sharing its requests.
 * - `retry-on conn-failure`: what an instance may have begun is never sent to another one.
 */
export function renderConfig(state: EdgeState, { socket }: { socket: string }): string {
  return [global(socket), ...state.environments.map(renderEnvironment)].join('\n')
}

function global(socket: string): string {
  return `# Made by Kiln before each change; edits are lost.
global
  default-path config
  stats socket "unix@${socket}" mode 600 level admin
  stats timeout 10s
  maxconn 4000
  noreuseport
  hard-stop-after 10m

defaults
  mode http
  maxconn 4000
  option http-server-close
  option idle-close-on-response
  option redispatch 1
  option forwardfor
  retries 3
  retry-on conn-failure
  timeout connect 2s
  timeout check 5s
  timeout client 60s
  timeout server 60s
  timeout queue 10s
  timeout tunnel 1h
  timeout http-request 10s
  timeout http-keep-alive ${idleClientMs}ms
`
}

function renderEnvironment({ environment, port, servers }: EdgeEnvironment): string {
  return `
frontend ${frontendName(environment)}
  bind ${edgeAddress}:${port}
  http-after-response set-header x-kiln-instance %[srv_name] if { srv_name -m found }
  default_backend ${backendName(environment)}

backend ${backendName(environment)}
  balance roundrobin
  option httpchk
  http-check send meth GET uri-lf "%[srv_name,map_str(${mapName},/)]" ver HTTP/1.1 hdr Host kiln
  http-check expect status 200-399
  http-error status 503 content-type text/plain string "nothing serves ${environment} now\\n"
${servers.map((server) => `${renderServer(server)}\n`).join('')}`
}

function renderServer(server: EdgeServer): string {
  const weight = server.state === 'ready' ? fullWeight : 0
  return `  server ${server.name} ${server.address}:${server.port} ${checkOptions(server)} weight ${weight}`
}
