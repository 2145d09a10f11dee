/** What the guard must know of a container that shall be made. */
export type CreateBody = {
  /** As it was asked for: an id, a name with a tag, a name with a digest. */
  image: string
  labels: Readonly<Record<string, string>>
  /** Containers whose namespaces or volumes it shares, as they were named. */
  joins: readonly string[]
  whole: Readonly<Record<string, unknown>>
}

type Fields = Readonly<Record<string, unknown>>

/** Settings of the form `container:<reference>` that put a process into another container's namespaces. */
const modes = ['NetworkMode', 'PidMode', 'IpcMode', 'UTSMode', 'UsernsMode', 'CgroupnsMode']

/**
 * Reads the body of a create as the engine does, which takes `image` for `Image` and of fields that stand
 * twice the last, or a mixture. What the two could read differently is no body: then it says why.
 */
export function readCreateBody(body: Uint8Array | null): CreateBody | { why: string } {
  if (body === null || body.length === 0) return { why: 'the engine did not show its body' }
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8')
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return { why: 'its body is not whole JSON' }
  }
  if (!isFields(parsed)) return { why: 'its body is no JSON object' }
  const inner = fieldOf(parsed, 'HostConfig')
  const host = isFields(inner) ? inner : {}
  if (hasDoubled(text) || hasTwins(parsed) || hasTwins(host))
    return { why: 'a field stands twice in its body' }
  const image = fieldOf(parsed, 'Image')
  const labels = fieldOf(parsed, 'Labels')
  return {
    image: typeof image === 'string' ? image : '',
    labels: isFields(labels) ? textsOf(labels) : {},
    // Old clients have the host's part at the top.
    joins: [...joinsOf(parsed), ...joinsOf(host)],
    whole: parsed,
  }
}

/** Containers that one with these settings shares something with. */
export function joinsOf(host: Fields): string[] {
  const shared = modes.flatMap((name) => {
    const mode = fieldOf(host, name)
    return typeof mode === 'string' && mode.startsWith('container:')
      ? [mode.slice('container:'.length)]
      : []
  })
  const volumes = fieldOf(host, 'VolumesFrom')
  const from = Array.isArray(volumes) ? volumes.filter((one) => typeof one === 'string') : []
  return [...shared, ...from.map((one) => one.split(':')[0] ?? '')].filter((one) => one !== '')
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textsOf(fields: Fields): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) =>
      typeof value === 'string' ? [[name, value]] : [],
    ),
  )
}

function fieldOf(fields: Fields, name: string): unknown {
  const found = Object.keys(fields).find((one) => folded(one) === folded(name))
  return found === undefined ? undefined : fields[found]
}

/** Go's decoder takes names that differ only in case, the long s and the Kelvin sign included, for one. */
function folded(name: string): string {
  return name.toUpperCase().toLowerCase()
}

function hasTwins(fields: Fields): boolean {
  const names = Object.keys(fields).map(folded)
  return new Set(names).size < names.length
}

/** Whether any object of this valid JSON names a field twice; `JSON.parse` keeps the last alone. */
function hasDoubled(text: string): boolean {
  const open: (Set<string> | null)[] = []
  for (const [token] of text.matchAll(/"(?:[^"\\]+|\\.)*"(?:\s*:)?|[{}[\]]/gs)) {
    if (token === '{') open.push(new Set())
    else if (token === '[') open.push(null)
    else if (token === '}' || token === ']') open.pop()
    else if (token.endsWith(':')) {
      const name = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1)) as string
      const names = open.at(-1)
      if (names?.has(name) === true) return true
      names?.add(name)
    }
  }
  return false
}
