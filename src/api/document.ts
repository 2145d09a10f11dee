import { jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Route } from './route.ts'
import { problem } from './views.ts'

/** What the OpenAPI document says of the contract, and Fastify checks and strips by. */

/** The content type of an answer that is no JSON of a schema; null: by the schema, or a stream. */
export function typeOf({ answer }: Route): string | null {
  return answer.kind === 'text' || answer.kind === 'bytes' ? answer.type : null
}

const refused = {
  description: 'A refusal or a failure, with what to do about it',
  content: { 'application/problem+json': { schema: problem } },
}

export function schemaOf(name: string, route: Route) {
  const { status, summary } = route
  return {
    operationId: name,
    summary,
    security: route.access === 'token' ? [{ token: [] }] : [],
    params: route.params,
    querystring: route.query,
    ...(route.method === 'POST' ? { body: route.body } : {}),
    // No `default`: it would make any status a documented one.
    response: { [status]: successOf(route), '4xx': refused, '5xx': refused },
  }
}

function successOf(route: Route) {
  const { answer, summary } = route
  if (answer.kind === 'json') return answer.schema
  const type = answer.kind === 'events' ? 'text/event-stream' : answer.type.split(';', 1)[0]
  const schema = answer.kind === 'events' ? eventOf(answer.schema) : z.unknown()
  return { description: summary, content: { [String(type)]: { schema } } }
}

/** One event of a stream: OpenAPI 3.1 describes each, and what is inside its text. */
function eventOf(content: z.ZodType) {
  const id = z.globalRegistry.get(content)?.id
  return z.object({
    id: z.string(),
    event: z.literal('operation'),
    data: z.string().meta({
      contentMediaType: 'application/json',
      contentSchema: { $ref: `#/components/schemas/${id}` },
    }),
  })
}

type Operation = {
  requestBody?: {
    required?: boolean
    content: Record<string, { schema?: { required?: string[] } }>
  }
}

/**
 * Adds the named schemas. The plugin calls every body required, but one in which nothing is required may
 * be left out (see `authenticateAll`).
 */
export const completeDocument: typeof jsonSchemaTransformObject = (given) => {
  const document = jsonSchemaTransformObject(given)
  const paths: Record<string, object | undefined> = document.paths ?? {}
  for (const { requestBody } of Object.values(paths).flatMap((path) =>
    Object.values(path ?? {}),
  ) as Operation[]) {
    if (requestBody === undefined) continue
    const schemas = Object.values(requestBody.content).map(({ schema }) => schema)
    requestBody.required = schemas.some((schema) => (schema?.required ?? []).length > 0)
  }
  return document
}
