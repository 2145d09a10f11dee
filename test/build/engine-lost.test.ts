import { expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { buildRoom, busyboxBase, putContext, source, testTemplate } from '../helpers/build-room.ts'
import { ownDocker } from '../helpers/own-docker.ts'

function dockerfile(seconds: number): string {
  return `FROM base\nCOPY app/ /srv/\nRUN echo begun; sleep ${seconds}\nUSER 901:901\nCMD ["sh"]\n`
}

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'an engine that ends by %s in the middle of a build is an outage, and the build goes on afterwards',
  async (signal) => {
    const engine = await ownDocker()
    const begun = Promise.withResolvers<void>()
    const room = await buildRoom({
      socketPath: engine.socketPath,
      change: { log: (_build, line) => line === 'begun' && begun.resolve() },
    })
    try {
      const base = await busyboxBase(room.store)
      const input = {
        build: 'build:lost',
        app: 'lost',
        context: await putContext(room, { 'server.js': 'hello' }),
        dependencies: null,
        template: await testTemplate(room, base, dockerfile(600)),
        source,
        useCache: true,
      }
      const first = room.activities.buildImage(input).catch((error: unknown) => error)
      await begun.promise
      await engine.stop(signal)
      const failure = await first
      expect(failure).toBeInstanceOf(KilnError)
      expect(failure).toMatchObject({ code: 'docker_unavailable', retryable: true })
      await expect(room.activities.buildImage(input)).rejects.toMatchObject({
        code: 'docker_unavailable',
      })
      await engine.start()
      const template = await testTemplate(room, base, dockerfile(0))
      const result = await room.activities.buildImage({ ...input, template })
      expect(result.layer).not.toBeNull()
      expect(await room.docker.listContainers({ all: true })).toEqual([])
      expect((await room.docker.listVolumes()).Volumes ?? []).toEqual([])
      const dangling = await room.docker.listImages({ filters: '{"dangling":["true"]}' })
      expect(dangling.filter(({ RepoDigests }) => (RepoDigests ?? []).length === 0)).toEqual([])
    } finally {
      await room.close()
      await engine.close()
    }
  },
  120_000,
)
