/**
 * How git shows who is asking, by reference: what the files hold is read by ssh and by git's own
 * helper, and never becomes an argument, a setting or a part of an address.
 */
export type Access =
  | { kind: 'none' }
  | { kind: 'ssh-key'; keyFile: string; knownHostsFile: string }
  | { kind: 'token'; tokenFile: string; user: string }

/** Paths that ssh's own configuration language reads as nothing but a path. */
export const plainPath = /^\/[A-Za-z0-9._+@/-]{1,1000}$/
