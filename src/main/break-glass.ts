import type { Asked, BreakGlass, Operations } from '../api/ports.ts'
import { KilnError } from '../domain/error.ts'
import type { Ledger } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Engine } from './engine.ts'
import { tailFrom } from './operation-ids.ts'

type Running = { environment: EnvironmentName; name: string; id: string }

/** A person's leave to enter one instance. */
export function breakGlassIn({
  engine,
  ledger,
}: {
  engine: Pick<Engine, 'breakGlass'>
  ledger: () => Promise<Ledger>
}): Pick<Operations, 'breakGlass'> {
  return {
    async breakGlass(
      { principal, id }: Asked,
      { instance, seconds, reason }: { instance: string; seconds: number; reason: string },
    ): Promise<BreakGlass> {
      const known = await ledger()
      const { environment, name, id: container } = findRunning(known, instance)
      const { entered } = known.environments.get(environment) ?? { entered: [] }
      if (seconds === 0 && !entered.some((one) => one.id === container))
        throw new KilnError('not_found', `nobody was let into ${name}`, { place: instance })
      const { until } = await engine.breakGlass({
        id: `break-glass.${tailFrom(id)}`,
        environment,
        instance: { name, id: container },
        seconds,
        reason,
        principal,
      })
      return { environment, instance: name, id: container, until }
    },
  }
}

/** By its name, or a beginning of its container's id. Throws `not_found`, `ambiguous`. */
function findRunning(ledger: Ledger, instance: string): Running {
  const running = [...ledger.environments.values()].flatMap((state) =>
    state.running.map((one) => ({ environment: state.environment, ...one })),
  )
  const isId = /^[0-9a-f]{6,64}$/.test(instance)
  const found = running.filter(
    ({ name, id }) => name === instance || (isId && id.startsWith(instance)),
  )
  const [only] = found
  if (only !== undefined && found.length === 1) return only
  const names = (found.length > 1 ? found : running).map(({ name }) => name).toSorted()
  const code = found.length > 1 ? 'ambiguous' : 'not_found'
  throw new KilnError(
    code,
    found.length > 1
      ? `several instances begin with ${instance}`
      : `no instance is called ${instance}`,
    {
      place: instance,
      fix:
        names.length === 0
          ? 'nothing runs: kiln environments'
          : `there are: ${names.slice(0, 20).join(', ')}`,
    },
  )
}
