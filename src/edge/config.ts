import type { EnvironmentName } from '../domain/name.ts'
import { createHash } from 'node:crypto'
import { backendName, renderEntrance, tlsDefaults, type Entrance } from './entrance.ts'
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

/** A server's full weight; one that joins or leaves has 0 in the file, so that a restart sends it nothing. */
export const fullWeight = 100

/** Check settings of a server; `default-server` does not reach servers that are added at run time. */
export function checkOptions({ intervalMs, rise = 1, fall = 3 }: EdgeServer): string {
  return `check inter ${intervalMs}ms rise ${rise} fall ${fall}`
}

/** Which path each server's readiness check asks for: servers of two definitions stand side by side. */
export function renderMap(state: EdgeState): string {
  return state.environments
    .flatMap(({ servers }) => servers)
    .flatMap(({ name, path }) => (path === null ? [] : [`${name} ${path}\n`]))
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
export function renderConfig(state: EdgeState, frame: Frame): string {
  const { socket, entrance, certificates } = frame
  const body = [
    entrance?.tls ? tlsDefaults : '',
    defaults,
    // Which certificates are loaded is part of the shape, though HAProxy reads them from a folder.
    ...certificates.map((name) => `# certificate ${name}\n`),
    entrance === null ? '' : renderEntrance(entrance),
    ...state.environments.map(renderEnvironment),
  ].join('')
  return `${global(socket)}  setenv ${shapeName} ${shapeOf(body)}\n${body}`
}

/** What stands around the environments. `certificates`: each accepted one's name and digest. */
export type Frame = {
  socket: string
  entrance: Entrance | null
  certificates: readonly string[]
}

/** HAProxy tells by this variable which shape it has loaded. */
export const shapeName = 'KILN_SHAPE'

/** Of all that only a reload changes: everything but the servers and the maps. */
function shapeOf(body: string): string {
  const lasting = body.split('\n').filter((line) => !line.startsWith('  server '))
  return createHash('sha256').update(lasting.join('\n')).digest('hex')
}

/** The shape that a configuration will have once it is loaded. */
export function shapeIn(config: string): string {
  return new RegExp(`^  setenv ${shapeName} (\\w+)$`, 'm').exec(config)?.[1] ?? ''
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
`
}

const defaults = `
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

function renderEnvironment({ environment, port, servers }: EdgeEnvironment): string {
  return `
frontend ${frontendName(environment)}
  bind ${edgeAddress}:${port}
  http-after-response set-header x-kiln-instance %[srv_name] if { srv_name -m found }
  default_backend ${backendName(environment)}

backend ${backendName(environment)}
  balance roundrobin
${isCheckedByTcp(servers) ? tcpCheck : httpCheck}  http-error status 503 content-type text/plain string "nothing serves ${environment} now\\n"
${servers.map((server) => `${renderServer(server)}\n`).join('')}`
}

/**
 * A backend has one kind of check. While instances of two kinds stand side by side the weaker one holds
 * for all; the host asks each by its own probe before it joins.
 */
function isCheckedByTcp(servers: readonly EdgeServer[]): boolean {
  return servers.some(({ path }) => path === null)
}

const tcpCheck = '  option tcp-check\n'

const httpCheck = `  option httpchk
  http-check send meth GET uri-lf "%[srv_name,map_str(${mapName},/)]" ver HTTP/1.1 hdr Host kiln
  http-check expect status 200-399
`

function renderServer(server: EdgeServer): string {
  const weight = server.state === 'ready' ? fullWeight : 0
  return `  server ${server.name} ${server.address}:${server.port} ${checkOptions(server)} weight ${weight}`
}
