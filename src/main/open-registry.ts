import type { Logger } from 'pino'
import { refused, type Judged } from '../edge/certificate.ts'
import { judgeOffered, readOffered } from '../edge/certificate-files.ts'
import { createOpenRegistry, type OpenRegistry } from '../registry/server.ts'
import type { Config } from './config.ts'

type Dependencies = Omit<Parameters<typeof createOpenRegistry>[0], 'address' | 'name' | 'pem'>

/**
 * The registry for other hosts, where a setting says so: it opens once there is a good certificate for its
 * name and takes over each newer one; with a bad one it goes on as it was, and the log says why.
 */
export async function keepOpenRegistry(
  { registryOpen: place, tlsFolder }: Pick<Config, 'registryOpen' | 'tlsFolder'>,
  dependencies: Dependencies & { logger: Logger; everyMs?: number },
): Promise<{ close(): Promise<void> }> {
  if (place === null || tlsFolder === undefined) return { close: async () => undefined }
  const { logger, everyMs = 30_000, ...given } = dependencies
  const { name, ...address } = place
  const folder = tlsFolder
  let registry: OpenRegistry | undefined
  let shown = ''
  let said = ''

  async function take({ digest, pem }: { digest: string; pem: string }): Promise<void> {
    if (registry === undefined) {
      registry = await createOpenRegistry({ ...given, logger, address, name, pem })
      logger.info(address, `the registry is open to other hosts as ${name}`)
    } else if (digest !== shown) {
      registry.renew(pem)
      logger.info({ digest }, 'the registry shows a newer certificate')
    }
    shown = digest
    said = ''
  }

  async function look(): Promise<void> {
    try {
      const judged = await certificateIn(folder, name)
      if (judged.kind === 'good') return await take(judged)
      if (said !== judged.message) logger.error({ fix: judged.fix }, judged.message)
      said = judged.message
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      if (said !== message)
        logger.error({ err: error }, 'the registry does not open to other hosts')
      said = message
    }
  }

  let looking = look()
  await looking
  const timer = setInterval(() => {
    looking = looking.then(look)
  }, everyMs)
  return {
    async close() {
      clearInterval(timer)
      await looking
      await registry?.close()
    },
  }
}

async function certificateIn(folder: string, name: string): Promise<Judged> {
  const offered = (await readOffered(folder)).find((one) => one.name === name)
  if (offered === undefined) {
    return refused(name, 'no-certificate', `${name}: no ${name}.pem in ${folder}`)
  }
  return judgeOffered(offered, new Date())
}
