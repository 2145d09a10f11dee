export type Environment = Readonly<Record<string, string | undefined>>

const names = [
  'PATH',
  'HOME',
  'SSH_AUTH_SOCK',
  'GIT_SSL_CAINFO',
  'HTTPS_PROXY',
  'https_proxy',
  'NO_PROXY',
  'no_proxy',
]

/** What git may know of the machine. */
export function gitEnvironment(environment: Environment): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = environment[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
}

/** Whether git reaches https by a proxy. */
export function isProxied(environment: Environment): boolean {
  return environment['HTTPS_PROXY'] !== undefined || environment['https_proxy'] !== undefined
}
