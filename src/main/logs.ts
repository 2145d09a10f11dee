import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logs } from '../api/ports.ts'
import type { Operation } from '../domain/operation.ts'
import { instanceLogs } from '../runtime/logs.ts'
import { namingOf } from './naming.ts'
import type { Config } from './config.ts'
import type { Paths } from './paths.ts'

/** How much of a build log is read from its end, in bytes. */
const window = 4 * 1024 * 1024

/** A build's log file; the id's colon is no good in file names. */
export function buildLogPath(paths: Paths, build: string): string {
  return join(paths.buildLogs, `${build.replace(/[^a-z0-9-]/g, '-')}.log`)
}

export function createLogs(
  { paths, hostName }: Config,
  operation: (id: string) => Promise<Operation | undefined>,
): Logs {
  const place = { naming: namingOf(hostName), folder: paths.instanceLogs }
  return {
    instances: (environment, tail) => instanceLogs(place, { environment, tail }),
    /** By the build's own id, or by that of the delivery that started it. */
    async build(id, tail) {
      const build = id.startsWith('build:') ? id : (await operation(id))?.result['build']
      return typeof build === 'string' ? lastLines(buildLogPath(paths, build), tail) : undefined
    },
  }
}

async function lastLines(path: string, tail: number): Promise<string | undefined> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (file === undefined) return undefined
  try {
    const { size } = await file.stat()
    const start = Math.max(0, size - window)
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(size - start),
      0,
      size - start,
      start,
    )
    const lines = buffer.toString('utf8', 0, bytesRead).split('\n')
    return lines.slice(-tail - 1).join('\n')
  } finally {
    await file.close()
  }
}
