import { KilnError } from '../../src/domain/error.ts'

type Activity = (...input: never[]) => Promise<unknown>
export type Activities = Record<string, Activity>

function mapActivities<A extends object>(
  activities: A,
  wrap: (run: (...input: unknown[]) => Promise<unknown>, name: string) => Activity,
): A {
  const wrapped = Object.entries(activities).map(([name, run]) => [
    name,
    wrap(run as (...input: unknown[]) => Promise<unknown>, name),
  ])
  return Object.fromEntries(wrapped) as A
}

/** Runs each activity twice and answers as the second time, as when the first answer was lost. */
export function twice<A extends object>(activities: A): A {
  return mapActivities(activities, (run) => async (...input: unknown[]) => {
    await run(...input)
    return run(...input)
  })
}

/** The first call of each activity fails after its work was done; Temporal tries it again. */
export function failOnceAfterWork<A extends object>(activities: A): A {
  const failed = new Set<string>()
  return mapActivities(activities, (run, name) => async (...input: unknown[]) => {
    const result = await run(...input)
    if (failed.has(name)) return result
    failed.add(name)
    throw new KilnError('store_unavailable', `the answer of ${name} was lost`)
  })
}

/** What a test wants to happen around the calls of activities, and what it saw of them. */
export class Stage {
  readonly calls: { name: string; input: unknown }[] = []
  private readonly plans = new Map<string, (input: unknown) => Promise<void> | void>()
  private readonly held = new Map<string, { arrived: () => void; open: Promise<void> }>()

  /** From now on `act` comes before each call of the activity; what it throws is the activity's failure. */
  before(name: string, act: (input: never) => Promise<void> | void): void {
    this.plans.set(name, act as (input: unknown) => void)
  }

  /** Nothing is planned any more. */
  clear(): void {
    this.plans.clear()
    this.held.clear()
  }

  /**
   * The activity waits at its beginning until `release`, or until `kill` ends it there; `reached` says that
   * it waits.
   */
  hold(name: string): { reached: Promise<void>; release: () => void; kill: () => void } {
    const { promise: reached, resolve: arrived } = Promise.withResolvers<void>()
    const { promise: open, resolve, reject } = Promise.withResolvers<void>()
    this.held.set(name, { arrived, open })
    const end = (how: () => void) => {
      this.held.delete(name)
      how()
    }
    return {
      reached,
      release: () => end(resolve),
      kill: () => end(() => reject(new Error(`${name} was killed`))),
    }
  }

  callsOf(name: string): unknown[] {
    return this.calls.filter((call) => call.name === name).map((call) => call.input)
  }

  wrap<A extends object>(activities: A): A {
    return mapActivities(activities, (run, name) => async (...input: unknown[]) => {
      this.calls.push({ name, input: input[0] })
      await this.plans.get(name)?.(input[0])
      const held = this.held.get(name)
      held?.arrived()
      await held?.open
      return run(...input)
    })
  }
}
