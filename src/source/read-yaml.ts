import { isAlias, isMap, isNode, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import type { Document } from 'yaml'
import type { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import { isPlainNumber } from '../domain/plain.ts'
import { nearest } from './near.ts'
import { reasonAgainst } from './refused-keys.ts'

/** Larger files are refused. */
export const maxSpecificationBytes = 64 * 1024

/** `quiet`: the line is not shown, because it may hold what should not be repeated. */
type Fault = { offset: number; message: string; quiet?: boolean }

/** What a file's form is: its schema, and the keys that each of its maps may have. */
type Form<T> = { schema: z.ZodType<T>; knownKeys: Readonly<Record<string, readonly string[]>> }

/**
 * Reads a YAML file of a repository; `form` chooses by the keys at its top. Throws `invalid_yaml` that
 * lists every fault with its line and a caret under the place; the first one is the error's place.
 * Nothing is repaired or guessed.
 */
export function readYaml<T>(
  bytes: Uint8Array,
  { file, form }: { file: string; form: (keys: readonly string[]) => Form<T> },
): T {
  const text = decode(bytes, file)
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
  if (faults.length > 0) throw invalid({ file, text, lines }, faults)
  const { schema, knownKeys } = form(topKeys(document))
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 0 }))
  if (parsed.success) return parsed.data
  throw invalid(
    { file, text, lines },
    parsed.error.issues.flatMap((issue) => issueFaults({ document, knownKeys }, issue)),
  )
}

function topKeys({ contents }: Document.Parsed): string[] {
  return isMap(contents)
    ? contents.items.map(({ key }) => (isScalar(key) ? String(key.value) : ''))
    : []
}

function decode(bytes: Uint8Array, file: string): string {
  if (bytes.byteLength > maxSpecificationBytes) {
    throw new KilnError('invalid_yaml', `${file} has more than ${maxSpecificationBytes} bytes`, {
      place: file,
    })
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new KilnError('invalid_yaml', `${file} is not UTF-8`, {
      cause,
      place: file,
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

type Read = Pick<Form<unknown>, 'knownKeys'> & { document: Document.Parsed }

function issueFaults({ document, knownKeys }: Read, issue: Issue): Fault[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      offset: keyOffset(document, path, key),
      message: unknownKey(key, knownKeys[textOf(path)] ?? []),
    }))
  }
  const where = path.length === 0 ? '' : `${path.join('.')}: `
  const missing = path.length > 0 && document.getIn(path) === undefined
  const message = missing && issue.code !== 'custom' ? 'is missing' : issue.message
  const quiet = path.includes('config') || path.includes('secrets')
  return [{ offset: valueOffset(document, path), message: `${where}${message}`, quiet }]
}

/** A path without list positions. */
function textOf(path: readonly (string | number)[]): string {
  return path.filter((part) => typeof part === 'string').join('.')
}

function unknownKey(key: string, known: readonly string[]): string {
  const reason = reasonAgainst(key)
  if (reason !== undefined) return `${key} is refused: ${reason}`
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
  { file, text, lines }: { file: string; text: string; lines: LineCounter },
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
        place: `${file}:${row}:${column}`,
        message,
        quoted: quiet ? [] : caret(source[row - 1] ?? '', column),
      }
    })
  const [first] = shown
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more)` : ''
  return new KilnError('invalid_yaml', `${first?.message ?? 'not valid'}${more}`, {
    place: first?.place ?? file,
    lines: shown.flatMap(({ place, message, quoted }) => [`${place}: ${message}`, ...quoted]),
  })
}

/** The line itself with a caret under the place; of long lines the part around it. */
function caret(line: string, column: number): string[] {
  const from = Math.max(0, column - 100)
  const part = line.slice(from, from + 160)
  return [`  ${part}`, `  ${' '.repeat(column - 1 - from)}^`]
}
