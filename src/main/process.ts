import { createServer } from 'node:http'
import closeWithGrace from 'close-with-grace'
import pino, { type Logger } from 'pino'
import { loadConfig, type Config } from './config.ts'
import { crashPointsOf } from './crash-points-of.ts'
import type { Paths } from './paths.ts'

export type ProcessContext = {
  config: Config
  paths: Paths
  logger: Logger
  crashPoint: (name: string) => void
}

/** What a started process leaves behind when it is asked to end, last thing first. */
export type Started = { close: () => Promise<void> }

/**
 * The frame of each of Kiln's processes: its configuration, its log on standard output (the supervisor
 * keeps the file), a health port that answers once it is ready, and an orderly end on SIGTERM.
 */
export async function runProcess(
  name: string,
  start: (context: ProcessContext) => Promise<Started>,
): Promise<void> {
  const config = loadConfig(process.env, process.cwd())
  const logger = pino({
    name,
    level: config.logLevel,
    redact: {
      paths: ['*.token', '*.password', '*.authorization', 'req.headers.authorization'],
      censor: '…',
    },
  })
  process.umask(0o077)
  try {
    const started = await start({
      config,
      paths: config.paths,
      logger,
      crashPoint: crashPointsOf(config, name),
    })
    const health = await listenHealth(config.healthPort)
    closeWithGrace({ delay: 15_000, logger: false }, async ({ err }) => {
      if (err !== undefined) logger.fatal({ err }, 'ended by an error')
      health?.close()
      await started.close()
    })
    logger.info('ready')
  } catch (error) {
    logger.fatal({ err: error }, 'could not start')
    process.exitCode = 1
    process.kill(process.pid, 'SIGTERM')
  }
}

async function listenHealth(port: number | undefined) {
  if (port === undefined) return undefined
  const server = createServer((_request, response) => response.end('{"ok":true}\n'))
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', resolve)
  })
  return server
}
