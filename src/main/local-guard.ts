import { join } from 'node:path'
import closeWithGrace from 'close-with-grace'
import { pino } from 'pino'
import type { GuardReport } from '../cli/local-port.ts'
import { createDocker } from '../docker/client.ts'
import { guardEngine } from '../runtime/guard/engine.ts'
import { createGuard } from '../runtime/guard/guard.ts'
import { serveGuard } from '../runtime/guard/server.ts'
import type { Config } from './config.ts'
import { openGuardLedger } from './guard-ledger.ts'
import { openRefusals } from './guard-refusals.ts'
import { givenFolder } from './host-secrets.ts'
import { guardName, namingOf } from './naming.ts'

/** Where an engine of this machine looks for its plugins. */
const pluginFolder = '/run/docker/plugins'

/** Guards this machine's engine until a signal comes. What it refuses is logged on standard error, and kept for `kiln status`. */
export async function localGuard(
  config: Config,
  socket: string | undefined,
): Promise<GuardReport & { ended: Promise<void> }> {
  const logger = pino({ name: 'guard', level: config.logLevel }, pino.destination(2))
  const engine = config.docker.runtime
  const socketPath = socket ?? join(pluginFolder, `${guardName(config.hostName)}.sock`)
  const ledger = openGuardLedger(config, { logger, now })
  const guard = createGuard({
    naming: namingOf(config.hostName),
    engine: guardEngine(createDocker({ socketPath: engine })),
    ledger,
    registryPort: config.ports.registry,
    secretsFolder: givenFolder(config),
    now,
    logger,
  })
  const refusals = await openRefusals(config.paths.guardRefusals, { logger, now })
  const served = await serveGuard({ socketPath, guard, refused: refusals.note, logger })
  // Nobody waits for it yet, and the first question shall not wait for the whole log.
  ledger.admitted().catch((error: unknown) => {
    logger.warn({ err: error }, 'nothing of Kiln starts until the ledger can be read')
  })
  const ended = new Promise<void>((resolve) => {
    closeWithGrace({ delay: 5000, logger: false }, async ({ err }) => {
      if (err !== undefined) logger.fatal({ err }, 'ended by an error')
      await served.close()
      await refusals.close()
      resolve()
    })
  })
  return { socket: socketPath, engine, host: config.hostName, ended }
}

function now(): Date {
  return new Date()
}
