import { z } from 'zod'
import { isLabel } from '../domain/name.ts'
import { mostSecrets } from '../domain/secret.ts'
import { configFault, secretFault } from './config.ts'
import { routeKey, routeText } from '../domain/route.ts'
import type { Route } from '../domain/definition.ts'
import { parseDuration, parseMemory } from './quantity.ts'

function duration(min: number, max: number) {
  return z.string('must be a duration such as 500ms, 10s or 2m').transform((text, context) => {
    const ms = parseDuration(text)
    if (ms !== undefined && ms >= min && ms <= max) return ms
    const message = `must be a duration such as 500ms, 10s or 2m, from ${min} ms to ${max} ms`
    context.issues.push({ code: 'custom', message, input: text })
    return z.NEVER
  })
}

const memory = z.string('must be an amount such as 256Mi or 2Gi').transform((text, context) => {
  const mb = parseMemory(text)
  if (mb !== undefined && mb >= 16 && mb <= 65_536) return mb
  const message = 'must be an amount such as 256Mi or 2Gi, from 16Mi to 64Gi'
  context.issues.push({ code: 'custom', message, input: text })
  return z.NEVER
})

const name = z.string().refine(isLabel, {
  message: 'must be a name of at most 40 lower-case letters, digits and dashes, a letter first',
})

const config = z
  .record(z.string(), z.string('must be text: put it in quotes'))
  .superRefine((record, context) => {
    for (const [key, value] of Object.entries(record)) {
      const message = configFault(key, value)
      if (message !== undefined) context.addIssue({ code: 'custom', message, path: [key] })
    }
  })

const secrets = z
  .record(z.string(), z.string('must be a reference such as file:db-password or env:DB_PASSWORD'))
  .superRefine((record, context) => {
    const entries = Object.entries(record)
    if (entries.length > mostSecrets) {
      context.addIssue({ code: 'custom', message: `has more than ${mostSecrets} secrets` })
    }
    for (const [key, value] of entries) {
      const message = secretFault(key, value)
      if (message !== undefined) context.addIssue({ code: 'custom', message, path: [key] })
    }
  })

const path = z
  .string()
  .max(200)
  .regex(/^\/[A-Za-z0-9._~/-]*$/, 'must be a plain path such as /ready')

const instances = z
  .strictObject({ min: z.int().min(1).max(50).default(1), max: z.int().min(1).max(50).optional() })
  .transform(({ min, max }) => ({ min, max: max ?? min }))
  .refine(({ min, max }) => max >= min, { message: 'max must not be less than min', path: ['max'] })

const count = z.int().min(1).max(100)

const probe = {
  path: path.optional(),
  tcp: z.literal(true, 'must be true, or not stand there').optional(),
  threshold: count.optional(),
}
const oneWay = { message: 'give either path or tcp, not both', path: ['tcp'] }

const readinessShape = z.strictObject({
  ...probe,
  interval: duration(50, 60_000).default(500),
  timeout: duration(50, 60_000).default(1000),
  rise: count.optional(),
})
const readiness = readinessShape.refine((one) => !(one.path && one.tcp), oneWay)

const livenessShape = z.strictObject({
  ...probe,
  interval: duration(200, 600_000).default(10_000),
  timeout: duration(50, 60_000).default(2000),
})
const liveness = livenessShape
  .refine((one) => !(one.path && one.tcp), oneWay)
  .refine((one) => one.path !== undefined || one.tcp === true, {
    message: 'must say path or tcp: true',
  })

/** A DNS name in lower case, without a port, a last dot or a wildcard; not an IPv4 address. */
const host = z
  .string()
  .max(253)
  .regex(
    /^(?!(.*\.)?\d+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/,
    'must be a host name in lower case such as shop.example.test, without a port',
  )

const routePath = z
  .string()
  .max(200)
  .regex(
    /^(\/|(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._~-]+)+)$/,
    'must be a plain path such as /api, without a slash at its end',
  )

const route = z
  .strictObject({ host: host.optional(), path: routePath.optional() })
  .refine((one) => one.host !== undefined || one.path !== undefined, {
    message: 'must have a host, a path, or both',
  })
  .transform((one): Route => ({
    ...(one.host === undefined ? {} : { host: one.host }),
    ...(one.path === undefined ? {} : { path: one.path }),
  }))

const resources = z.strictObject({
  memory: memory.default(256),
  cpus: z.number().min(0.05).max(64).default(0.5),
  pids: z.int().min(8).max(32_768).default(128),
})

const start = z.strictObject({ timeout: duration(1000, 600_000).default(30_000) })

const stop = z.strictObject({
  grace: duration(100, 600_000).default(10_000),
  drain: duration(100, 600_000).default(30_000),
})

const environment = z.strictObject({
  name,
  port: z.int().min(1).max(65_535).default(8080),
  instances: instances.prefault({}),
  readiness: readiness.prefault({}),
  liveness: liveness.optional(),
  route: route.optional(),
  resources: resources.prefault({}),
  config: config.default({}),
  secrets: secrets.optional(),
  start: start.prefault({}),
  stop: stop.prefault({}),
  strategy: z.literal('rolling', 'must be rolling').default('rolling'),
  promote: z.enum(['automatic', 'manual'], 'must be automatic or manual').optional(),
})

/** Two environments of one file never share a route. */
function oneEach(
  list: readonly { name: string; route?: Route | undefined }[],
  context: z.core.$RefinementCtx,
): void {
  const holders = new Map<string, string>()
  for (const [at, { name: own, route: wanted }] of list.entries()) {
    if (wanted === undefined) continue
    const holder = holders.get(routeKey(wanted))
    holders.set(routeKey(wanted), holder ?? own)
    if (holder === undefined) continue
    const message = `${holder} has the route ${routeText(wanted)} already`
    context.addIssue({ code: 'custom', message, path: [at, 'route'] })
  }
}

/** kiln.yaml, version 1. docs/kiln-yaml.md says the same for people. */
export const kilnYaml = z.strictObject({
  version: z.literal(1, 'must be 1'),
  app: name,
  template: name,
  environments: z
    .array(environment)
    .min(1, 'must name at least one environment')
    .max(20)
    .superRefine((list, context) => {
      for (const [at, { name: own }] of list.entries()) {
        if (list.findIndex((one) => one.name === own) === at) continue
        const message = `there are two environments ${own}`
        context.addIssue({ code: 'custom', message, path: [at, 'name'] })
      }
    })
    .superRefine(oneEach),
})

export type KilnYaml = z.output<typeof kilnYaml>

/** The keys that each map of kiln.yaml may have, by its path without list positions. */
export const knownKeys: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(kilnYaml.shape),
  environments: Object.keys(environment.shape),
  'environments.instances': ['min', 'max'],
  'environments.readiness': Object.keys(readinessShape.shape),
  'environments.liveness': Object.keys(livenessShape.shape),
  'environments.route': ['host', 'path'],
  'environments.resources': Object.keys(resources.shape),
  'environments.start': Object.keys(start.shape),
  'environments.stop': Object.keys(stop.shape),
}
