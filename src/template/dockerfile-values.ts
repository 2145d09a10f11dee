import { refuse, type Here } from './dockerfile-fault.ts'

const secretLike = /PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|CREDENTIAL|KEY/i
const kernelFolders = /^\/(proc|sys|dev)(\/|$)/
const plainPath = /^(\/[A-Za-z0-9_@+.-]+)+\/?$/
const assignment =
  /^(?<name>[A-Za-z_][A-Za-z0-9_.-]*)=(?:"(?<double>[^"'\\$]*)"|'(?<single>[^"'\\$]*)'|(?<bare>[^\s"'\\$]*))(?:\s+|$)/

/** An absolute path that cannot lead anywhere else than it says. */
export function requirePath(here: Here, path: string): string {
  const parts = path.split('/')
  if (path !== '/' && (!plainPath.test(path) || parts.includes('..') || parts.includes('.'))) {
    throw refuse(
      here,
      `${JSON.stringify(path)} is not a plain absolute path`,
      'write an absolute path of letters, digits and ._@+-, without .. and variables',
    )
  }
  if (kernelFolders.test(path)) {
    throw refuse(here, `${path} belongs to the kernel`, 'use a folder of your own, such as /app')
  }
  return path
}

/** `NAME=value` pairs without variables; quotes may hold spaces. */
export function requirePairs(here: Here): (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = []
  for (let rest = here.rest; rest !== '';) {
    const match = assignment.exec(rest)
    const groups = match?.groups
    if (match === null || groups === undefined) {
      throw refuse(
        here,
        `cannot be read from ${JSON.stringify(rest.slice(0, 40))}`,
        `write ${here.keyword} NAME=value or NAME="a value", without variables, backslashes or quotes inside`,
      )
    }
    const name = groups['name'] ?? ''
    if (secretLike.test(name)) {
      throw refuse(
        here,
        `${name} looks like a secret, and everything here ends up in the image's history`,
        'give secrets to the running instance, not to the build',
      )
    }
    pairs.push([name, groups['double'] ?? groups['single'] ?? groups['bare'] ?? ''])
    rest = rest.slice(match[0].length)
  }
  if (pairs.length === 0) throw refuse(here, 'names nothing', `write ${here.keyword} NAME=value`)
  return pairs
}

/** Names that the shell can hold; labels have their own. */
export function requireVariables(here: Here): (readonly [string, string])[] {
  const pairs = requirePairs(here)
  for (const [name] of pairs) {
    if (name === 'SOURCE_DATE_EPOCH' || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw refuse(
        here,
        `${name} cannot be set here`,
        'use letters, digits and _; the build sets SOURCE_DATE_EPOCH itself',
      )
    }
  }
  return pairs
}

/** `["program", "argument"]`; undefined when it is no JSON list of strings. */
export function parseArgv(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined
  try {
    const value: unknown = JSON.parse(text)
    const isList = Array.isArray(value) && value.every((item) => typeof item === 'string')
    return isList ? value : undefined
  } catch {
    return undefined
  }
}
