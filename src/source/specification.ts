import { isAlias, isMap, isNode, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import type { Document } from 'yaml'
import type { z } from 'zod'
import type { Definition, InstanceRange, Probe } from '../domain/definition.ts'
import { KilnError } from '../domain/error.ts'
import { isPlainNumber } from '../domain/plain.ts'
import { nearest } from './near.ts'
import { reasonAgainst } from './refused-keys.ts'
import { kilnYaml, knownKeys, type KilnYaml } from './schema.ts'

/** What kiln.yaml says: the app, its template, and its environments in the order of promotion. */
export type Specification = {
  version: 1
  app: string
  template: string
  environments: readonly EnvironmentSpecification[]
}

type EnvironmentSpecification = {
  definition: Definition
  instances: InstanceRange
  automatic: boolean
}

export const specificationFile = 'kiln.yaml'

/** Larger files are refused. */
export const maxSpecificationBytes = 64 * 1024

/** `quiet`: the line is not shown, because it may hold what should not be repeated. */
type Fault = { offset: number; message: string; quiet?: boolean }

/**
 * Reads kiln.yaml. Throws `invalid_yaml` that lists every fault with its line and a caret under the
 * place; the first one is the error's place. Nothing is repaired or guessed.
 */
export function parseSpecification(bytes: Uint8Array): Specification {
  const text = decode(bytes)
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    merge: false,
    prettyErrors: false,
    stringKeys: true,
    uniqueKeys: true,
    version: '1.2',
  })
  const broken = [...document.errors, ...document.warnings].map((error) => ({
    offset: error.pos[0],
    message: error.message,
  }))
  const faults = broken.length > 0 ? broken : trickFaults(document)
  if (faults.length > 0) throw invalid({ text, lines }, faults)
  const parsed = kilnYaml.safeParse(document.toJS({ maxAliasCount: 0 }))
  if (parsed.success) return specificationOf(parsed.data)
  throw invalid(
    { text, lines },
    parsed.error.issues.flatMap((issue) => issueFaults(document, issue)),
  )
}

function decode(bytes: Uint8Array): string {
  if (bytes.byteLength > maxSpecificationBytes) {
    throw new KilnError('invalid_yaml', `kiln.yaml has more than ${maxSpecificationBytes} bytes`, {
      place: specificationFile,
    })
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new KilnError('invalid_yaml', 'kiln.yaml is not UTF-8', {
      cause,
      place: specificationFile,
    })
  }
}

/** What means something else to YAML or JavaScript than to the person who wrote it. */
function trickFaults(document: Document.Parsed): Fault[] {
  const faults: Fault[] = []
  const add = (node: unknown, message: string) => {
    faults.push({ offset: isNode(node) ? (node.range?.[0] ?? 0) : 0, message })
  }
  visit(document, {
    Node(_key, node) {
      if (isAlias(node)) add(node, 'aliases are not allowed: write the value out')
      else if (node.anchor !== undefined) add(node, 'anchors are not allowed')
      if (node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:')) {
        add(node, 'tags are not allowed')
      }
      if (isScalar(node) && Number.isFinite(node.value) && !isPlainNumber(node.source ?? '')) {
        add(node, 'write numbers in plain decimal digits')
      }
    },
    Pair(_key, { key }) {
      const word = isScalar(key) ? String(key.value) : ''
      if (['__proto__', 'constructor', 'prototype', '<<'].includes(word)) {
        add(key, `the key ${word} is not allowed`)
      }
    },
  })
  return faults
}

type Issue = z.core.$ZodIssue

function issueFaults(document: Document.Parsed, issue: Issue): Fault[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      offset: keyOffset(document, path, key),
      message: unknownKey(key, path),
    }))
  }
  const where = path.length === 0 ? '' : `${path.join('.')}: `
  const missing = path.length > 0 && document.getIn(path) === undefined
  const message = missing && issue.code !== 'custom' ? 'is missing' : issue.message
  const quiet = path.includes('config') || path.includes('secrets')
  return [{ offset: valueOffset(document, path), message: `${where}${message}`, quiet }]
}

function unknownKey(key: string, path: readonly (string | number)[]): string {
  const reason = reasonAgainst(key)
  if (reason !== undefined) return `${key} is refused: ${reason}`
  const known = knownKeys[path.filter((part) => typeof part === 'string').join('.')] ?? []
  const near = nearest(key, known)
  const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`
  return `unknown key ${JSON.stringify(key.slice(0, 60))}; ${hint}`
}

function keyOffset(
  document: Document.Parsed,
  path: readonly (string | number)[],
  key: string,
): number {
  const map = path.length === 0 ? document.contents : document.getIn(path, true)
  const pair = isMap(map)
    ? map.items.find((item) => isScalar(item.key) && item.key.value === key)
    : undefined
  return isNode(pair?.key) ? (pair.key.range?.[0] ?? 0) : valueOffset(document, path)
}

/** The value, or the nearest map around it when it is missing. */
function valueOffset(document: Document.Parsed, path: readonly (string | number)[]): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true)
    if (isNode(node)) return node.range?.[0] ?? 0
  }
  return document.contents?.range[0] ?? 0
}

function invalid(
  { text, lines }: { text: string; lines: LineCounter },
  faults: readonly Fault[],
): KilnError {
  const source = text.split(/\r?\n/)
  const shown = faults
    .toSorted((a, b) => a.offset - b.offset)
    .slice(0, 10)
    .map(({ offset, message, quiet = false }) => {
      const { line, col } = lines.linePos(Math.min(offset, text.length))
      const [row, column] = line === 0 ? [1, 1] : [line, col]
      return {
        place: `${specificationFile}:${row}:${column}`,
        message,
        quoted: quiet ? [] : caret(source[row - 1] ?? '', column),
      }
    })
  const [first] = shown
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more)` : ''
  return new KilnError('invalid_yaml', `${first?.message ?? 'not valid'}${more}`, {
    place: first?.place ?? specificationFile,
    lines: shown.flatMap(({ place, message, quoted }) => [`${place}: ${message}`, ...quoted]),
  })
}

/** The line itself with a caret under the place; of long lines the part around it. */
function caret(line: string, column: number): string[] {
  const from = Math.max(0, column - 100)
  const part = line.slice(from, from + 160)
  return [`  ${part}`, `  ${' '.repeat(column - 1 - from)}^`]
}

function specificationOf({ version, app, template, environments }: KilnYaml): Specification {
  return {
    version,
    app,
    template,
    environments: environments.map((one, at) => ({
      definition: {
        version,
        environment: one.name,
        port: one.port,
        readiness: probeOf(one.readiness, '/ready'),
        ...(one.liveness === undefined ? {} : { liveness: probeOf(one.liveness, '/') }),
        ...(one.route === undefined ? {} : { route: one.route }),
        resources: {
          memoryMb: one.resources.memory,
          cpus: one.resources.cpus,
          pids: one.resources.pids,
        },
        config: one.config,
        ...secretsOf(one),
        start: { timeoutMs: one.start.timeout },
        stop: { graceMs: one.stop.grace, drainMs: one.stop.drain },
        strategy: one.strategy,
      },
      instances: one.instances,
      automatic: (one.promote ?? (at === 0 ? 'automatic' : 'manual')) === 'automatic',
    })),
  }
}

/** None given and none at all are one definition. */
function secretsOf({
  secrets = {},
}: KilnYaml['environments'][number]): Pick<Definition, 'secrets'> {
  return Object.keys(secrets).length === 0 ? {} : { secrets }
}

type ProbeGiven = KilnYaml['environments'][number]['readiness']

/** With what was given, and nothing else: a definition without it keeps the digest that it had. */
function probeOf(given: ProbeGiven, path: string): Probe {
  const { interval, timeout, threshold, rise } = given
  return {
    ...(given.tcp === true ? { tcp: true } : { path: given.path ?? path }),
    intervalMs: interval,
    timeoutMs: timeout,
    ...(threshold === undefined ? {} : { threshold }),
    ...(rise === undefined ? {} : { rise }),
  }
}
