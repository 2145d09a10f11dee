/**
 * Whether a repository's address may hold a secret: a password or a token before the host, or anything
 * after `?` or `#`. Such an address must not get anywhere that keeps it: work in flight, the log, a list.
 */
export function mayHoldSecret(address: string): boolean {
  const [, scheme = '', rest = ''] =
    /^(?:([A-Za-z][A-Za-z0-9+.-]*):\/\/)?(.*)$/s.exec(address) ?? []
  if (/[?#]/.test(rest)) return true
  const [authority = ''] = rest.split(/[/\\]/)
  const at = authority.lastIndexOf('@')
  if (at < 0) return false
  return /^https?$/i.test(scheme) || authority.slice(0, at).includes(':')
}
