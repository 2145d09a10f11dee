import {
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
} from 'yaml'
import type { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import { isPlainNumber } from '../domain/plain.ts'

/** Keys that mean something else to JavaScript or to YAML 1.1 than to the person who wrote them. */
const refusedKeys = new Set(['__proto__', 'constructor', 'prototype', '<<'])

type Source = { file: string; text: string; lines: LineCounter }

/**
 * Reads a YAML file against a schema. Nothing is repaired: unknown and duplicate keys, anchors,
 * aliases, tags, merge keys and more than one document throw `invalid_yaml`, with the place as
 * `file:line:column` and the line itself with a caret under it.
 */
export function parseYaml<S extends z.ZodType>(
  input: { file: string; text: string; maxBytes: number },
  schema: S,
): z.output<S> {
  const source = { file: input.file, text: input.text, lines: new LineCounter() }
  if (Buffer.byteLength(input.text) > input.maxBytes) {
    throw fault(source, 0, `is larger than ${input.maxBytes} bytes`)
  }
  const document = parseDocument(input.text, {
    lineCounter: source.lines,
    merge: false,
    prettyErrors: false,
    schema: 'core',
    strict: true,
    stringKeys: true,
    uniqueKeys: true,
    version: '1.2',
  })
  const broken = document.errors[0] ?? document.warnings[0]
  if (broken !== undefined) throw fault(source, broken.pos[0], broken.message)
  refuseTricks(source, document)
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 0 }))
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw issue === undefined
    ? fault(source, 0, 'is not valid')
    : fault(source, offsetOf(document, issue), explain(issue))
}

function refuseTricks(source: Source, document: Document): void {
  visit(document, {
    Alias: (_key, node) => {
      throw fault(source, startOf(node), 'aliases are not allowed: write the value out')
    },
    Node: (_key, node) => {
      if (!isAlias(node) && node.anchor !== undefined) {
        throw fault(source, startOf(node), 'anchors are not allowed: write the value out')
      }
      if (node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:')) {
        throw fault(source, startOf(node), 'tags are not allowed')
      }
      if (isScalar(node) && Number.isFinite(node.value) && !isPlainNumber(node.source ?? '')) {
        throw fault(source, startOf(node), 'write numbers in plain decimal digits')
      }
    },
    Pair: (_key, pair) => {
      if (isScalar(pair.key) && refusedKeys.has(String(pair.key.value))) {
        throw fault(source, startOf(pair.key), `the key ${String(pair.key.value)} is not allowed`)
      }
    },
  })
}

type Issue = z.core.$ZodIssue

function explain(issue: Issue): string {
  const at = issue.path.length === 0 ? '' : `${issue.path.join('.')}: `
  if (issue.code === 'unrecognized_keys') return `${at}unknown key ${issue.keys.join(', ')}`
  return `${at}${issue.message}`
}

/** Where an issue points: the unknown key itself, else the value, else the map that lacks it. */
function offsetOf(document: Document, issue: Issue): number {
  const path = issue.path.filter((part) => typeof part !== 'symbol')
  if (issue.code === 'unrecognized_keys') {
    const map = path.length === 0 ? document.contents : document.getIn(path, true)
    const pair = isMap(map)
      ? map.items.find(
          (item) => isPair(item) && isScalar(item.key) && item.key.value === issue.keys[0],
        )
      : undefined
    if (pair !== undefined && isNode(pair.key)) return startOf(pair.key)
  }
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true)
    if (isNode(node)) return startOf(node)
  }
  return isNode(document.contents) ? startOf(document.contents) : 0
}

function startOf(node: Node): number {
  return node.range?.[0] ?? 0
}

function fault(source: Source, offset: number, message: string): KilnError {
  const { line, col } = source.lines.linePos(offset)
  const [row, column] = line === 0 ? [1, 1] : [line, col]
  const text = source.text.split('\n')[row - 1] ?? ''
  return new KilnError('invalid_yaml', `${source.file}: ${message}`, {
    place: `${source.file}:${row}:${column}`,
    lines: text.length > 200 ? [] : [text, `${' '.repeat(column - 1)}^`],
  })
}
