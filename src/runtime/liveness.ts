import type { ContainerInfo } from 'dockerode'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Probe } from '../domain/definition.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Drift } from '../domain/request.ts'
import { callDocker } from '../docker/client.ts'
import type { ExpectedInstance } from './drift.ts'
import type { Engine } from './engine.ts'
import type { HostFence } from './fence.ts'
import { networkName, readLabels } from './label.ts'
import { faultOf, probeText } from './probe.ts'

export type LivenessDependencies = Engine & {
  fence: HostFence
  /** What the environment's last activation adopted. */
  expected: (
    environment: EnvironmentName,
  ) => Promise<{ instances: readonly Pick<ExpectedInstance, 'id'>[] }>
  /** Asks for a replacement; told again when it throws. */
  onDrift: (environment: EnvironmentName, drifts: readonly Drift[]) => Promise<void>
  logger: Logger
  now: () => Date
}

export type Liveness = {
  /** Whether it was given up: it is replaced, whatever it answers now. */
  isUnresponsive: (id: string) => boolean
  /** Asks every instance that has a liveness probe, until `signal` is aborted. */
  watch: (dependencies: LivenessDependencies, signal: AbortSignal) => Promise<void>
}

const standardThreshold = 3
const lookEveryMs = 1000
const firstPauseMs = 15_000
const longestPauseMs = 300_000
const calmMs = 600_000
/** A replacement that failed is asked for again. */
const askAgainAfterMs = 300_000

/** When an environment's last replacement was asked for, and how long the next one waits. */
export type Budget = { at: number; pauseMs: number }

/**
 * What is left after one more replacement at this time; null when it must wait. One at once, then after
 * 15 s, 30 s and so on up to 5 minutes: where all instances fail together, what they depend on is down, and
 * replacing them all would add a storm to it. Ten calm minutes give the whole budget back. Pure.
 */
export function spend(budget: Budget | undefined, time: number): Budget | null {
  if (budget === undefined || time - budget.at >= calmMs) {
    return { at: time, pauseMs: firstPauseMs }
  }
  if (time - budget.at < budget.pauseMs) return null
  return { at: time, pauseMs: Math.min(budget.pauseMs * 2, longestPauseMs) }
}

/** How many answers in a row were missing, or came. */
export type Pulse = { missed: number; came: number; fault: string }

export function beat(pulse: Pulse, fault: string | null): Pulse {
  return fault === null
    ? { missed: 0, came: pulse.came + 1, fault: '' }
    : { missed: pulse.missed + 1, came: 0, fault }
}

/** Alive until as many answers in a row are missing as the threshold says, and again after as many came. */
export function isGivenUp(pulse: Pulse, { threshold = standardThreshold }: Probe): boolean {
  return pulse.missed >= threshold
}

export function hasRecovered(pulse: Pulse, { threshold = standardThreshold }: Probe): boolean {
  return pulse.came >= threshold
}

type Probed = {
  id: string
  name: string
  environment: EnvironmentName
  address: string
  port: number
  probe: Probe
}

export function createLiveness(): Liveness {
  /** When the replacement of each that was given up was last asked for. */
  const askedAt = new Map<string, number>()
  return {
    isUnresponsive: (id) => askedAt.has(id),
    async watch(dependencies, signal) {
      const followed = new Map<string, AbortController>()
      const budgets = new Map<EnvironmentName, Budget>()
      const context = { ...dependencies, askedAt, budgets }
      while (!signal.aborted) {
        const found = await look(dependencies).catch((error: unknown) => {
          dependencies.logger.debug({ err: error }, 'cannot list what runs')
          return null
        })
        if (found !== null) follow(context, { found, followed })
        await delay(lookEveryMs, undefined, { signal }).catch(() => undefined)
      }
      for (const one of followed.values()) one.abort()
    },
  }
}

type Context = LivenessDependencies & {
  askedAt: Map<string, number>
  budgets: Map<EnvironmentName, Budget>
}

/** Begins to ask those that are new, and stops asking those that are gone. */
function follow(
  context: Context,
  { found, followed }: { found: readonly Probed[]; followed: Map<string, AbortController> },
): void {
  const present = new Set(found.map(({ id }) => id))
  for (const [id, one] of followed) {
    if (present.has(id)) continue
    one.abort()
    followed.delete(id)
    context.askedAt.delete(id)
  }
  for (const one of found) {
    if (followed.has(one.id)) continue
    const stop = new AbortController()
    followed.set(one.id, stop)
    void askOn(context, one, stop.signal)
  }
}

async function askOn(context: Context, one: Probed, signal: AbortSignal): Promise<void> {
  let pulse: Pulse = { missed: 0, came: 0, fault: '' }
  while (!signal.aborted) {
    await delay(one.probe.intervalMs, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return
    pulse = beat(pulse, await faultOf(one, one.probe))
    if (hasRecovered(pulse, one.probe)) context.askedAt.delete(one.id)
    if (!isGivenUp(pulse, one.probe)) continue
    await giveUp(context, one, pulse).catch((error: unknown) => {
      const { environment, name } = one
      context.logger.warn({ err: error, environment, instance: name }, 'nobody took what is hung')
    })
  }
}

/** Asks for its replacement, unless a change acts there now or the environment's budget is spent. */
async function giveUp(context: Context, one: Probed, pulse: Pulse): Promise<void> {
  const { askedAt, budgets, expected, fence, logger, onDrift } = context
  const { environment, id, name } = one
  const time = context.now().getTime()
  if (time - (askedAt.get(id) ?? -Infinity) < askAgainAfterMs || fence.isActing(environment)) return
  // What is starting or leaving belongs to a change, whose workflow decides.
  const { instances } = await expected(environment)
  if (!instances.some((instance) => instance.id === id)) return
  const budget = spend(budgets.get(environment), time)
  if (budget === null) return
  budgets.set(environment, budget)
  askedAt.set(id, time)
  const found = `${pulse.missed} answers missing in a row: ${probeText(one.probe)}: ${pulse.fault}`
  logger.warn({ environment, instance: name, found, nextAfterMs: budget.pauseMs }, 'unresponsive')
  try {
    await onDrift(environment, [
      { instance: name, cause: 'unresponsive', found, expected: 'an answer in time' },
    ])
  } catch (error) {
    askedAt.delete(id)
    throw error
  }
}

/** Every running instance of this host that has a liveness probe: one question to the engine for all. */
async function look({ docker, naming, fence }: LivenessDependencies): Promise<Probed[]> {
  const filters = JSON.stringify({ label: [`kiln.host=${naming.host}`], status: ['running'] })
  const listed = await callDocker(() => docker.listContainers({ filters }))
  return listed.flatMap((info) => {
    const labels = readLabels(info.Labels)
    const probe = labels?.settings.liveness
    if (labels === null || probe === undefined) return []
    const { environment, settings } = labels
    const address = addressOf(info, networkName(naming, environment))
    // A container that only bears the labels is the watch's to find.
    if (address === '' || fence.record(environment).made[info.Id] === undefined) return []
    const name = (info.Names[0] ?? '').slice(1)
    return [{ id: info.Id, name, environment, address, port: settings.port, probe }]
  })
}

function addressOf({ NetworkSettings }: ContainerInfo, network: string): string {
  return NetworkSettings.Networks[network]?.IPAddress ?? ''
}
