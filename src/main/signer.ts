import { openKeys, trustRootOf } from '../../signing/keys.ts'
import { startSigner } from '../../signing/signer-server.ts'
import { writeTrust } from '../../signing/trust-files.ts'
import { lockFolder } from '../store/folder-lock.ts'
import { runProcess } from './process.ts'

// The signer: the only process that reads the signing keys. It writes their public half for everyone,
// before it answers.
await runProcess('signer', async ({ config: { origin }, paths, logger, crashPoint }) => {
  await writeTrust(paths.trust, trustRootOf(await openKeys(paths.keys, origin), origin))
  const options = {
    directory: paths.keys,
    origin,
    lock: lockFolder,
    socket: paths.signerSocket,
    logger,
    crashPoint,
  }
  return startSigner(options)
})
