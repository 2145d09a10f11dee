const scp = /^(?:[^@/:]+@)?([^@/:]+|\[[^\]/]*\]):(?!\/\/)\/?(.*)$/
const withScheme = /^([a-z]+):\/\/(?:[^@/]*@)?([^@/:]+|\[[^\]/]*\])(?::([0-9]{1,5}))?\/(.*)$/i
const standardPorts = new Map([
  ['https', '443'],
  ['http', '80'],
  ['ssh', '22'],
])

/** A repository's place, whichever way its address is written; only for comparing, never to connect to. */
export type Place = { host: string; path: string }

/**
 * `git@github.com:acme/shop.git`, `ssh://git@github.com/acme/shop` and `https://GitHub.com/acme/shop/` are
 * one place. A port counts unless it is its scheme's own. Undefined for what is no address.
 */
export function placeOf(address: string): Place | undefined {
  if (address.length > 2048 || !/^[\x21-\x7e]+$/.test(address)) return undefined
  return address.includes('://') ? ofUrl(address) : ofScp(address)
}

/** Forges take no difference in case for another repository. */
export function isSamePlace(one: string, other: string): boolean {
  const [a, b] = [placeOf(one), placeOf(other)]
  if (a === undefined || b === undefined) return false
  return a.host === b.host && a.path.toLowerCase() === b.path.toLowerCase()
}

function ofUrl(address: string): Place | undefined {
  const [, scheme = '', host = '', port, path = ''] = withScheme.exec(address) ?? []
  const standard = standardPorts.get(scheme.toLowerCase())
  if (standard === undefined) return undefined
  return place(port === undefined || port === standard ? host : `${host}:${port}`, path)
}

function ofScp(address: string): Place | undefined {
  const [, host = '', path = ''] = scp.exec(address) ?? []
  return host === '' ? undefined : place(host, path)
}

function place(host: string, path: string): Place | undefined {
  const plain = path.replace(/\/+$/, '').replace(/\.git$/i, '')
  if (plain === '' || /[?#\\%]|(^|\/)\.{0,2}(\/|$)/.test(plain)) return undefined
  return { host: host.toLowerCase(), path: plain }
}
