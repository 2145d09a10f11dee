import { posix } from 'node:path'
import { readCreateBody, type CreateBody } from './create-body.ts'

/** A request to the engine as it shows it to an authorization plugin. */
export type AuthzRequest = {
  method: string
  /** As it was sent: version, escapes and query are still in it. */
  uri: string
  contentType: string
  /** Null when the engine did not show it: above 1 MB, of no stated length, or no JSON. */
  body: Uint8Array | null
}

/** What a request would do, as far as the guard cares. References are names, ids or their beginnings. */
export type Asked =
  /** Reads, ends, or is about no container. */
  | { kind: 'free' }
  /** Reaches into a container or changes it. Which of the references the engine means, it must say itself. */
  | { kind: 'into'; verb: string; references: readonly string[] }
  /** Goes on with what an earlier exec prepared. */
  | { kind: 'exec'; id: string }
  | { kind: 'start'; verb: string; reference: string }
  | { kind: 'create'; names: readonly string[]; body: CreateBody }
  | { kind: 'unreadable'; what: string; why: string }

/** Reading a container, and ending it: nobody needs leave for these. */
const free: ReadonlySet<string> = new Set([
  'GET json',
  'GET logs',
  'GET top',
  'GET stats',
  'GET changes',
  'POST stop',
  'POST kill',
  'POST wait',
  'POST pause',
  'POST unpause',
  'POST resize',
])

/**
 * Reads a request the way the engine's router does. Pure. Of what it does to one container only what
 * stands in `free` is let through unseen: a verb that a later engine brings reaches into it.
 */
export function readRequest({ method, uri, contentType, body }: AuthzRequest): Asked {
  // Ending something is always allowed.
  if (method === 'DELETE') return { kind: 'free' }
  const place = placeOf(uri)
  if (place === null) return { kind: 'unreadable', what: method, why: 'its path cannot be decoded' }
  const { path, query } = place
  const isForm = contentType.toLowerCase().includes('form')
  if (path === '/containers/create' && method === 'POST')
    return createAsked(query, isForm ? { why: 'its body is a form' } : readCreateBody(body))
  if (path === '/commit') {
    if (isForm) return { kind: 'unreadable', what: 'commit', why: 'its body is a form' }
    return { kind: 'into', verb: 'commit', references: valuesOf(query, 'container').map(plainName) }
  }
  if (path.startsWith('/exec/')) return execAsked(method, path.slice('/exec/'.length))
  if (!path.startsWith('/containers/')) return { kind: 'free' }
  const asked = containerAsked(method, path.slice('/containers/'.length))
  return asked.kind === 'start' && isOld(place.version)
    ? { kind: 'unreadable', what: asked.verb, why: 'an API before 1.24 takes settings with it' }
    : asked
}

function createAsked(query: string, read: ReturnType<typeof readCreateBody>): Asked {
  return 'why' in read
    ? { kind: 'unreadable', what: 'create', ...read }
    : { kind: 'create', names: valuesOf(query, 'name').map(plainName), body: read }
}

function execAsked(method: string, rest: string): Asked {
  const parts = rest.split('/')
  if (method === 'GET' && parts.length === 2 && parts[1] === 'json') return { kind: 'free' }
  return { kind: 'exec', id: parts[0] ?? '' }
}

function containerAsked(method: string, rest: string): Asked {
  if (rest === 'json' || rest === 'prune') return { kind: 'free' }
  const slash = rest.lastIndexOf('/')
  if (slash < 0) return { kind: 'into', verb: rest, references: [rest] }
  const [reference, verb] = [rest.slice(0, slash), rest.slice(slash + 1)]
  if (free.has(`${method} ${verb}`)) return { kind: 'free' }
  if (starting.has(`${method} ${verb}`)) return { kind: 'start', verb, reference }
  return { kind: 'into', verb: words.get(verb) ?? verb, references: referencesIn(reference, verb) }
}

const starting: ReadonlySet<string> = new Set(['POST start', 'POST restart'])

/** The word that people know a verb by. */
const words: ReadonlyMap<string, string> = new Map([
  ['archive', 'cp'],
  ['copy', 'cp'],
  ['ws', 'attach'],
])

/** Names of links have slashes in them, and so may verbs that are not known here. */
function referencesIn(reference: string, verb: string): string[] {
  const attached = verb === 'ws' ? /^(.+)\/attach$/.exec(reference)?.[1] : undefined
  if (attached !== undefined) return [attached]
  const parts = reference.split('/')
  return parts.map((_, at) => parts.slice(0, at + 1).join('/'))
}

type Place = { version: string; path: string; query: string }

/** The decoded path without version, dots and doubled slashes, and the query as it was sent; null: undecodable. */
function placeOf(uri: string): Place | null {
  const local = uri.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i, '')
  const at = local.indexOf('?')
  const raw = at < 0 ? local : local.slice(0, at)
  try {
    const whole = posix.normalize(`/${decodeURIComponent(raw)}`).replace(/(?<=.)\/+$/, '')
    const version = /^\/v([0-9.]+)(?=\/)/.exec(whole)
    return {
      version: version?.[1] ?? '',
      path: version === null ? whole : whole.slice(version[0].length),
      query: at < 0 ? '' : local.slice(at + 1),
    }
  } catch {
    return null
  }
}

/** Without a version the engine takes its newest. */
function isOld(version: string): boolean {
  if (version === '') return false
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < 1 || (major === 1 && minor < 24)
}

/** Every value of a parameter, also those that only an engine finds which takes `;` for `&`. */
function valuesOf(query: string, name: string): string[] {
  const found = [/&/, /[&;]/].flatMap((separator) =>
    query.split(separator).flatMap((part) => {
      const [key = '', ...value] = part.split('=')
      return unescaped(key) === name ? [unescaped(value.join('='))] : []
    }),
  )
  return [...new Set(found)]
}

/** As in a form; what cannot be decoded stays as it is, and is no container's name. */
function unescaped(text: string): string {
  const spaced = text.replaceAll('+', ' ')
  try {
    return decodeURIComponent(spaced)
  } catch {
    return spaced
  }
}

function plainName(name: string): string {
  return name.replace(/^\/+/, '')
}
