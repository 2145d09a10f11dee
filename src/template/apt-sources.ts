import { KilnError } from '../domain/error.ts'

/** One apt source, of either form that apt reads. */
export type AptSource = {
  uris: readonly string[]
  suites: readonly string[]
  components: readonly string[]
  /** Deb822 fields that say how the source is trusted, kept as they are. */
  trust: Readonly<Record<string, string>>
}

export type AptFile = { path: string; text: string }

const trustFields = ['Signed-By', 'Trusted', 'Allow-Insecure', 'Check-Valid-Until'] as const

/** Reads sources.list lines and deb822 stanzas; what apt would ignore (disabled, sources only) is left out. */
export function parseAptSources(files: readonly AptFile[]): AptSource[] {
  return files.flatMap(({ path, text }) =>
    path.endsWith('.sources') ? parseStanzas(text) : parseLines(text),
  )
}

/**
 * The sources that serve a suite, its updates and its security fixes, as one deb822 file for a
 * private apt root. Throws `prerequisite_missing` when the machine has none.
 */
export function renderSourcesFor(suite: string, sources: readonly AptSource[]): string {
  const wanted = new Set([suite, `${suite}-updates`, `${suite}-security`])
  const stanzas = sources.flatMap((source) => {
    const suites = source.suites.filter((name) => wanted.has(name))
    if (suites.length === 0 || !source.components.includes('main')) return []
    return [
      [
        'Types: deb',
        `URIs: ${source.uris.join(' ')}`,
        `Suites: ${suites.join(' ')}`,
        'Components: main',
        ...Object.entries(source.trust).map(([field, value]) => `${field}: ${value}`),
      ].join('\n'),
    ]
  })
  if (stanzas.length === 0) {
    throw new KilnError('prerequisite_missing', `this machine's apt knows no source of ${suite}`, {
      fix: `add a Debian mirror with ${suite} main to /etc/apt/sources.list, or give one in Kiln's settings`,
    })
  }
  return `${stanzas.join('\n\n')}\n`
}

function parseStanzas(text: string): AptSource[] {
  return text
    .split(/\n[ \t]*\n/)
    .map(fieldsOf)
    .flatMap((fields) => {
      const types = words(fields.get('types'))
      if (!types.includes('deb') || isNo(fields.get('enabled'))) return []
      const trust = trustFields.flatMap((field) => {
        const value = fields.get(field.toLowerCase())
        return value === undefined ? [] : [[field, value] as const]
      })
      return [
        {
          uris: words(fields.get('uris')),
          suites: words(fields.get('suites')),
          components: words(fields.get('components')),
          trust: Object.fromEntries(trust),
        },
      ]
    })
}

/** Field names in lower case; a continued value keeps its lines (a key may stand in Signed-By). */
function fieldsOf(stanza: string): Map<string, string> {
  const fields = new Map<string, string>()
  let current = ''
  for (const line of stanza.split('\n')) {
    if (line.startsWith('#')) continue
    if (/^[ \t]/.test(line)) {
      fields.set(current, `${fields.get(current) ?? ''}\n${line}`)
      continue
    }
    const colon = line.indexOf(':')
    if (colon < 1) continue
    current = line.slice(0, colon).trim().toLowerCase()
    fields.set(current, line.slice(colon + 1).trim())
  }
  return fields
}

const oneLine =
  /^deb\s+(?:\[(?<options>[^\]]*)\]\s+)?(?<uri>\S+)\s+(?<suite>\S+)\s+(?<components>.+)$/

function parseLines(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const groups = oneLine.exec(line.replace(/#.*$/, '').trim())?.groups
    if (groups === undefined) return []
    const options = new Map(
      words(groups['options']).map((option) => {
        const [name = '', ...value] = option.split('=')
        return [name.toLowerCase(), value.join('=')] as const
      }),
    )
    const trust = trustFields.flatMap((field) => {
      const value = options.get(field.toLowerCase())
      return value === undefined ? [] : [[field, value.replaceAll(',', ' ')] as const]
    })
    return [
      {
        uris: [groups['uri'] ?? ''],
        suites: [groups['suite'] ?? ''],
        components: words(groups['components']),
        trust: Object.fromEntries(trust),
      },
    ]
  })
}

function words(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '')
}

function isNo(text: string | undefined): boolean {
  return (
    text !== undefined &&
    ['no', 'false', '0', 'off', 'without', 'disable'].includes(text.toLowerCase())
  )
}
