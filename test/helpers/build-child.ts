/**
 * Builds once in a process of its own, which a test starts under another clock, time zone and umask.
 * Reads a ChildRequest on standard input and writes a ChildAnswer.
 */
import { text } from 'node:stream/consumers'
import type { BuildImageInput, BuildImageResult } from '../../src/build/build-image.ts'
import type { FetchDependenciesInput } from '../../src/build/fetch-dependencies.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { parseDockerfile } from '../../src/template/dockerfile.ts'
import { renderDockerfile } from '../../src/template/render-dockerfile.ts'
import { buildRoom, machineNpm, putContext } from './build-room.ts'

export type ChildRequest = {
  root: string
  storeRoot: string
  files: Readonly<Record<string, string>>
  fetch: Omit<FetchDependenciesInput, 'context'>
  image: Omit<BuildImageInput, 'context' | 'dependencies'>
  /** More variables for every RUN: how the clock inside is moved. */
  runArgs: Readonly<Record<string, string>>
}

export type ChildAnswer = BuildImageResult & {
  now: string
  zone: string
  umask: string
  lines: string[]
}

async function main(): Promise<void> {
  const request = JSON.parse(await text(process.stdin)) as ChildRequest
  const room = await buildRoom({
    root: request.root,
    store: openFolderStore({ root: request.storeRoot }),
    change: {
      npm: machineNpm(),
      renderDockerfile: (dockerfile, { base, args }) =>
        renderDockerfile(parseDockerfile(dockerfile, { place: 'Dockerfile' }), {
          from: () => base,
          args: { ...args, ...request.runArgs },
        }),
    },
  })
  try {
    const context = await putContext(room, request.files)
    const { dependencies } = await room.activities.fetchDependencies({ ...request.fetch, context })
    const result = await room.activities.buildImage({ ...request.image, context, dependencies })
    const answer: ChildAnswer = {
      ...result,
      now: new Date().toISOString(),
      zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      umask: process.umask().toString(8),
      lines: room.lines,
    }
    process.stdout.write(JSON.stringify(answer))
  } catch (error) {
    process.stderr.write(`${room.lines.slice(-30).join('\n')}\n`)
    throw error
  } finally {
    await room.close()
  }
}

await main()
