import { get } from 'node:http'
import { connect } from 'node:net'
import type { Probe } from '../domain/definition.ts'

export type Asked = { address: string; port: number }

/**
 * Asks an instance once. Null when it answered in time: with 200 to 399 where a path is asked for, by
 * taking the connection where TCP is enough. Otherwise what was wrong, for people. Never throws.
 */
export function faultOf(asked: Asked, probe: Probe): Promise<string | null> {
  return 'path' in probe ? faultOfPage(asked, probe) : faultOfPort(asked, probe)
}

/** The question in words. */
export function probeText(probe: Probe): string {
  return 'path' in probe ? `GET ${probe.path}` : 'TCP connection'
}

function faultOfPage(
  { address, port }: Asked,
  { path, timeoutMs }: Extract<Probe, { path: string }>,
): Promise<string | null> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(timeoutMs)
    const request = get({ host: address, port, path, agent: false, signal }, (response) => {
      response.resume().on('error', () => undefined)
      const status = response.statusCode ?? 0
      resolve(status >= 200 && status < 400 ? null : `status ${status}`)
    })
    request.on('error', (error) => {
      resolve(signal.aborted ? `no answer within ${timeoutMs} ms` : error.message)
    })
  })
}

function faultOfPort({ address, port }: Asked, { timeoutMs }: Probe): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port })
    const end = (fault: string | null) => {
      socket.destroy()
      resolve(fault)
    }
    socket.setTimeout(timeoutMs, () => end(`no connection within ${timeoutMs} ms`))
    socket.once('connect', () => end(null))
    socket.on('error', (error) => end(error.message))
  })
}
