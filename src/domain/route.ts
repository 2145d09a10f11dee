import type { Route } from './definition.ts'
import type { Digest } from './digest.ts'
import type { EnvironmentState, Ledger } from './ledger.ts'
import { parseEnvironmentName, type EnvironmentName } from './name.ts'

/**
 * The route in one form: two routes are the same when their keys are. `<host or *><path>/`; a request
 * matches when its own host and path, written so, begin with the key: a prefix by whole segments.
 */
export function routeKey({ host = '*', path = '/' }: Route): string {
  return `${host}${path === '/' ? '' : path}/`
}

/** As people write it: `shop.example.test/api`, `*` for any host. */
export function routeText(route: Route): string {
  const key = routeKey(route)
  return key.slice(0, -1)
}

type Pair = { digest: Digest; definition: Digest }

/** The route that an artifact's own pipeline gives the environment under this definition. */
export function routeOf(ledger: Ledger, environment: EnvironmentName, pair: Pair): Route | null {
  const own = parseEnvironmentName(environment).environment
  const step = ledger.sealed
    .get(pair.digest)
    ?.body.pipeline.find((one) => one.environment === own && one.definition === pair.definition)
  return step?.route ?? null
}

/** What an environment serves or is about to serve: each of these holds its route. */
function pairsOf({ active, pending, open }: EnvironmentState): Pair[] {
  const pairs = [active?.body, pending?.body, open?.body.target]
  return pairs.filter((one) => one !== undefined)
}

/** The other environment that has the route now, or is being given it; null when it is free. */
export function routeHolder(
  ledger: Ledger,
  environment: EnvironmentName,
  route: Route,
): EnvironmentName | null {
  for (const state of ledger.environments.values()) {
    if (state.environment === environment) continue
    const held = pairsOf(state).map((pair) => routeOf(ledger, state.environment, pair))
    if (held.some((one) => one !== null && routeKey(one) === routeKey(route)))
      return state.environment
  }
  return null
}
