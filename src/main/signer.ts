import { existsSync } from 'node:fs'
import { startSigner } from '../../signing/signer-server.ts'
import { writeTrust } from '../../signing/trust-files.ts'
import type { TrustRoot } from '../../signing/trust.ts'
import { KilnError } from '../domain/error.ts'
import { diskError } from '../store/disk-error.ts'
import { lockFolder } from '../store/folder-lock.ts'
import { signingAccess } from './signing-access.ts'
import type { Paths } from './paths.ts'
import { runProcess } from './process.ts'

// The signer: the only process that reads the signing keys. It writes their public half for everyone,
// before it answers and whenever the log has another list of roles.
await runProcess('signer', async ({ config, paths, logger, crashPoint }) => {
  const { origin } = config
  await demandKeysOfLog(paths)
  const options = {
    directory: paths.keys,
    access: await signingAccess(config),
    origin,
    lock: lockFolder,
    onRoles: (trust: TrustRoot) => writeTrust(paths.trust, trust),
    diskError,
    now: () => new Date(),
    socket: paths.signerSocket,
    logger,
    crashPoint,
  }
  return startSigner(options)
})

/** New keys beside a trust root would be another log's: the log that is there could never go on. */
async function demandKeysOfLog({ keys, trust }: Paths): Promise<void> {
  if (existsSync(keys) || !existsSync(trust)) return
  throw new KilnError('prerequisite_missing', `the signing keys are gone: no ${keys}`, {
    place: keys,
    fix: 'put the folder back from where it is kept, or restore a backup that has the keys: docs/recovery.md',
  })
}
