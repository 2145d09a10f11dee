import type { z } from 'zod'

/** What a route answers with: one JSON document, a text, bytes, or server-sent events of one kind. */
export type AnswerKind =
  | { kind: 'json'; schema: z.ZodType }
  | { kind: 'text'; type: string }
  | { kind: 'bytes'; type: string }
  | { kind: 'events'; schema: z.ZodType }

/**
 * One route as data: the server registers it, the client calls it, the OpenAPI document shows it.
 * Every part is a strict object, so a field that is not declared here is refused.
 */
export type Route = {
  method: 'GET' | 'POST' | 'DELETE'
  path: string
  summary: string
  /** `open` needs no token. Health is open, and the public log. */
  access: 'open' | 'token'
  status: 200 | 201 | 202
  params: z.ZodType
  query: z.ZodType
  body: z.ZodType
  answer: AnswerKind
}

/** A strict object without fields has the type `Record<string, never>`. */
type OneOf<Name extends string, Value> = string extends keyof Value
  ? { [N in Name]?: Value }
  : Partial<Value> extends Value
    ? { [N in Name]?: Value }
    : { [N in Name]: Value }

/** What a caller gives. Parts without a required field may be left out. */
export type Input<R extends Route> = OneOf<'params', z.input<R['params']>> &
  OneOf<'query', z.input<R['query']>> &
  OneOf<'body', z.input<R['body']>>

/** One server-sent event: ids grow, so the last one seen says where to go on. */
export type Event<T> = { id: number; data: T }

/** What a caller gets. */
export type Answer<R extends Route> = R['answer'] extends { kind: 'events'; schema: infer S }
  ? AsyncIterable<Event<z.output<S>>>
  : R['answer'] extends { kind: 'json'; schema: infer S }
    ? z.output<S>
    : R['answer'] extends { kind: 'bytes' }
      ? Uint8Array
      : string

/** The path with its parameters filled in; each value is one segment, but for a `*`, which is a path. */
export function pathOf(path: string, params: Readonly<Record<string, unknown>>): string {
  return path
    .replace('*', () => String(params['*']).split('/').map(encodeURIComponent).join('/'))
    .replace(/:([a-z]+)/gi, (_all, name: string) => encodeURIComponent(String(params[name])))
}
