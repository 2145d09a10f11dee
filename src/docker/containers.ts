import { PassThrough } from 'node:stream'
import type { ContainerCreateOptions } from 'dockerode'
import type { DockerClient } from './client.ts'
import { callDocker, statusOf } from './client.ts'

export type ContainerRun = {
  options: ContainerCreateOptions
  signal: AbortSignal
  onOutput: (bytes: Uint8Array) => void
  /** Called between creation and start, to put files in. */
  prepare?: (container: RunningContainer) => Promise<void>
}

export type RunningContainer = ReturnType<DockerClient['getContainer']>

/**
 * Creates a container, runs it to its end, hands it to `after` with its exit code, and removes it with its
 * volumes whatever happens. Aborting the signal kills it.
 */
export async function runContainer<T>(
  docker: DockerClient,
  run: ContainerRun,
  after: (container: RunningContainer, exitCode: number) => Promise<T>,
): Promise<T> {
  const { signal } = run
  const container = await callDocker(
    () => docker.createContainer({ ...run.options, abortSignal: signal }),
    signal,
  )
  try {
    await run.prepare?.(container)
    const exitCode = await callDocker(() => startAndWait(docker, container, run), signal)
    return await after(container, exitCode)
  } finally {
    await removeContainer(docker, container.id)
  }
}

/**
 * Attached before the start, so that no output is lost; waited for after it, because a wait that comes
 * before the start may answer at once.
 */
async function startAndWait(
  docker: DockerClient,
  container: RunningContainer,
  { signal, onOutput }: ContainerRun,
): Promise<number> {
  const raw = await container.attach({
    stream: true,
    stdout: true,
    stderr: true,
    abortSignal: signal,
  })
  const output = new PassThrough()
  output.on('data', onOutput)
  docker.modem.demuxStream(raw, output, output)
  const read = new Promise<void>((resolve, reject) => {
    raw.on('end', resolve)
    raw.on('error', reject)
  })
  // The read's own failure is reported below; without this an early one would be unhandled.
  read.catch(() => undefined)
  await container.start({ abortSignal: signal })
  const { StatusCode } = (await container.wait({ abortSignal: signal })) as { StatusCode: number }
  await read
  return StatusCode
}

/** Removes a container by force, with its volumes; that it is gone, or going, already is fine. */
export async function removeContainer(docker: DockerClient, id: string): Promise<void> {
  try {
    await docker.getContainer(id).remove({ force: true, v: true })
  } catch (error) {
    const status = statusOf(error)
    if (status !== 404 && status !== 409) await callDocker(() => Promise.reject(error))
  }
}
