import { routeKey } from '../domain/route.ts'
import type { EdgeState } from './state.ts'

/** The one address at which every environment with a route is reached. */
export type Entrance = {
  address: string
  port: number
  /** Null: plain HTTP only. */
  tls: EntranceTls | null
}

export type EntranceTls = {
  port: number
  /** Holds the certificates that were accepted, each with its key; HAProxy reads nothing else. */
  folder: string
  /** Whether plain HTTP only answers with where the same page is under TLS. */
  redirect: boolean
  /** What browsers are told for how long to come by TLS only; null: nothing. */
  hstsSeconds: number | null
}

/** A name that no environment's can be: theirs have a dot. */
export const entranceName = 'fe:entrance'

/** Relative to the configuration's folder. */
export const routesName = 'routes.map'
export const hostsName = 'hosts.map'

export function backendName(environment: string): string {
  return `be:${environment.replace('/', '.')}`
}

/**
 * Which backend has which route: the routes of all instances that take requests. While a change replaces
 * instances of one route by those of another, both lead to the environment.
 */
export function routesOf({ environments }: EdgeState): ReadonlyMap<string, string> {
  return new Map(
    environments.flatMap(({ environment, servers }) =>
      servers.flatMap(({ route, state }) =>
        route === undefined || state !== 'ready'
          ? []
          : [[routeKey(route), backendName(environment)] as const],
      ),
    ),
  )
}

/** The hosts that some route names: what is asked of them never falls to a route for any host. */
export function hostsOf(routes: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const hosts = [...routes.keys()].map((key) => key.slice(0, key.indexOf('/')))
  return new Map(hosts.filter((host) => host !== '*').map((host) => [host, host]))
}

export function renderMapOf(entries: ReadonlyMap<string, string>): string {
  return [...entries].map(([key, value]) => `${key} ${value}\n`).join('')
}

/**
 * The shared entrance. What is asked for is read as a careful service reads it, before a route is chosen:
 *
 * - host: one, in lower case, without port and last dot; anything that is no host name is refused.
 * - path: percent-decoded once, repeated slashes as one, so that no spelling of `/api` escapes its route.
 *   Segments `.` and `..` in any spelling, backslashes, control characters and broken escapes are refused:
 *   a service behind `/api` could take them for a page outside of it. The service gets the path as it came.
 * - a host that some route names has its own routes only; of these the longest path that fits is taken.
 * - a connection under TLS serves the host that its certificate was chosen for.
 */
export function renderEntrance({ address, port, tls }: Entrance): string {
  return `
frontend ${entranceName}
  bind ${address}:${port}
${tls === null ? '' : renderTlsBind(address, tls)}  http-after-response set-header x-kiln-instance %[srv_name] if { srv_name -m found }
  http-request return status 405 ${text('no tunnels here')} if METH_CONNECT
  http-request set-var(txn.host) req.hdr(host),lower,regsub(:[0-9]*$,),regsub([.]$,)
  http-request set-var(txn.read) path,url_dec
  http-request return status 400 ${text('this is no host name')} if { req.hdr_cnt(host) gt 1 } || { var(txn.host) -m reg '[^]a-z0-9._:[-]' }
  http-request return status 400 ${text('this path can be read in two ways')} if { path -m reg '%(?![0-9A-Fa-f]{2})' } || { path_beg // } || { var(txn.read) -m reg '(^|/)[.][.]?(;[^/]*)?(/|$)' } || { var(txn.read) -m reg '[\\\\[:cntrl:]]' }
  http-request set-var(txn.site) str(*)
  http-request set-var(txn.site) var(txn.host),map_str(${hostsName})
  http-request set-var(txn.path) var(txn.read),regsub(/+,/,g)
  http-request set-var(txn.key) var(txn.site),concat(,txn.path,/)
  http-request set-var(txn.backend) var(txn.key),map_beg(${routesName})
${tls === null ? '' : '  http-request return status 421 ' + text('this connection is for another host') + ' if { ssl_fc } !{ ssl_fc_sni,lower,strcmp(txn.host) eq 0 }\n'}  http-request return status 404 ${text('no route of this Kiln leads here')} unless { var(txn.backend) -m found }
${tls === null ? '' : renderTlsRules(tls)}  use_backend %[var(txn.backend)]
`
}

function text(line: string): string {
  return `content-type text/plain string "${line}\\n"`
}

function renderTlsBind(address: string, { port, folder }: EntranceTls): string {
  // Without `strict-sni` a name that has no certificate would be shown some other app's.
  return `  bind ${address}:${port} ssl crt ${folder} strict-sni alpn h2,http/1.1\n`
}

function renderTlsRules({ port, redirect, hstsSeconds }: EntranceTls): string {
  const at = port === 443 ? '' : `:${port}`
  return [
    redirect
      ? `http-request redirect location https://%[var(txn.host)]${at}%[pathq] code 308 unless { ssl_fc }`
      : '',
    'http-request set-header x-forwarded-proto http unless { ssl_fc }',
    'http-request set-header x-forwarded-proto https if { ssl_fc }',
    hstsSeconds === null
      ? ''
      : `http-after-response set-header strict-transport-security max-age=${hstsSeconds} if { ssl_fc }`,
  ]
    .filter((line) => line !== '')
    .map((line) => `  ${line}\n`)
    .join('')
}

/** TLS 1.2 with forward secrecy and authenticated encryption only, and TLS 1.3. */
export const tlsDefaults = `  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
  ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256
`
