import { setTimeout as delay } from 'node:timers/promises'
import type { Attempt } from '../domain/effect.ts'
import { KilnError } from '../domain/error.ts'
import type { DockerClient } from '../docker/client.ts'
import { inspectContainer, lastLines } from './engine.ts'
import type { Settings } from './label.ts'
import { faultOf, probeText } from './probe.ts'

export type Awaited = { name: string; id: string; network: string; settings: Settings }

/** No service is asked more often than this while it starts. */
const longestPauseMs = 200
const shownLines = 20

/**
 * Resolves once the instance answers. Throws `change_failed` with its last 20 lines at once when it
 * ended, or when its start time is over; the signal's reason when that is aborted.
 */
export async function waitUntilReady(
  { docker, now }: { docker: DockerClient; now: () => Date },
  instance: Awaited,
  { signal, heartbeat }: Attempt,
): Promise<void> {
  const { readiness, start, port } = instance.settings
  const deadline = now().getTime() + start.timeoutMs
  for (;;) {
    signal.throwIfAborted()
    heartbeat()
    const found = await inspectContainer(docker, instance.id, instance.network)
    if (found === null) throw failed(instance, 'was removed while it started', [])
    if (found.state !== 'running') {
      const lines = await lastLines(docker, instance.id, shownLines)
      throw failed(instance, `ended with code ${found.exitCode} while it started`, lines)
    }
    const { address } = found
    if (address !== '' && (await faultOf({ address, port }, readiness)) === null) return
    if (now().getTime() >= deadline) {
      const lines = await lastLines(docker, instance.id, shownLines)
      const limit = `${start.timeoutMs / 1000} s`
      throw failed(instance, `did not answer ${probeText(readiness)} within ${limit}`, lines)
    }
    await delay(Math.min(readiness.intervalMs, longestPauseMs), undefined, { signal })
  }
}

function failed({ name }: Awaited, what: string, lines: readonly string[]): KilnError {
  return new KilnError('change_failed', `the instance ${name} ${what}`, { place: name, lines })
}
