import type { Definition, InstanceRange, Probe } from '../domain/definition.ts'
import { readYaml } from './read-yaml.ts'
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

/** Reads an app's kiln.yaml; `file` is its name in errors. Throws `invalid_yaml`, as `readYaml` does. */
export function parseSpecification(bytes: Uint8Array, file = specificationFile): Specification {
  return specificationOf(readYaml(bytes, { file, form: () => ({ schema: kilnYaml, knownKeys }) }))
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
