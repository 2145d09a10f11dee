import { BlockList, isIP, isIPv4 } from 'node:net'

/** Loopback, private, link-local (cloud metadata), carrier, multicast, documentation and reserved ranges. */
const inner = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  inner.addSubnet(network, prefix, 'ipv4')
}
const outer = new BlockList()
outer.addSubnet('2000::', 3, 'ipv6')
const tunnels = new BlockList()
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
] as const) {
  tunnels.addSubnet(network, prefix, 'ipv6')
}

/** Whether an IP address is one of the public internet; IPv6 that carries IPv4 inside is not. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !inner.check(address, 'ipv4')
  return isIP(address) === 6 && outer.check(address, 'ipv6') && !tunnels.check(address, 'ipv6')
}

const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const innerNames = ['localhost', 'local', 'internal', 'localdomain', 'lan', 'home', 'arpa']

/** Why a host of an address is refused before it is looked up, or undefined when it is not. */
export function hostFault(host: string): string | undefined {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  if (isIP(bare) !== 0) {
    return isPublicAddress(bare) ? undefined : `${bare} is not an address of the public internet`
  }
  if (host.endsWith('.')) return 'the host ends with a dot'
  const labels = host.split('.')
  const last = labels.at(-1) ?? ''
  if (host.length > 253 || !labels.every((one) => label.test(one))) return 'not a host name'
  if (/^(0x[0-9a-f]*|[0-9]+)$/.test(last)) return 'the host is a number, not a name'
  if (labels.length === 1 || innerNames.includes(last)) return `${host} is not a public host`
  return undefined
}
