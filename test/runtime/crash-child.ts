/** One attempt at one activity in a process of its own, which kills itself at a crash point. */
import { join } from 'node:path'
import { createDocker } from '../../src/docker/client.ts'
import {
  runtimeActivities,
  type RuntimeDependencies,
  type StartRequest,
} from '../../src/runtime/activities.ts'
import { openFence } from '../../src/runtime/fence.ts'
import { pullFrom, type RegistryAccess } from '../../src/runtime/image.ts'
import { rehearsals, type RehearsalRequest } from '../../src/runtime/rehearsal.ts'
import { memoryFolder, openSecretFiles } from '../../src/runtime/secret-files.ts'
import { environmentSecrets, fileSecrets } from '../../src/runtime/secret-source.ts'
import { attempt, definition, logger } from './host-at-hand.ts'

export type Attempt = {
  point: string
  folder: string
  naming: { host: string; prefix: string }
  registry: RegistryAccess
  request: StartRequest
  /** Instead of a start. */
  rehearsal?: RehearsalRequest
}

const { point, folder, naming, registry, request, rehearsal } = JSON.parse(
  process.argv[2] ?? '',
) as Attempt
const docker = createDocker({ socketPath: '/var/run/docker.sock' })
const dependencies: RuntimeDependencies = {
  docker,
  naming,
  fence: await openFence({ folder }),
  admission: { check: async () => ({ definition }) },
  pull: pullFrom(docker, registry),
  secrets: {
    sources: { file: fileSecrets(folder), env: environmentSecrets({}) },
    files: openSecretFiles(join(memoryFolder(), `kiln-test-${naming.prefix}`)),
  },
  logger,
  now: () => new Date(),
  activity: attempt,
  crashPoint: (name) => {
    if (name === point) process.kill(process.pid, 'SIGKILL')
  },
}
if (rehearsal !== undefined) await rehearsals(dependencies).activities.rehearse(rehearsal)
const activities = runtimeActivities(dependencies)
await activities.startInstances(request)
await activities.stopInstances({ ...request, keep: [] })
