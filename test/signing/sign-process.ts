/**
 * A signer of its own that dies: `node sign-process.ts <root> <passphrase> <address of KMS>`. Decides once, and is
 * killed by SIGKILL when the statement is signed and nobody has heard of it.
 */
import { openKms } from '../../signing/kms-key.ts'
import { signedFolder } from '../helpers/signed-folder.ts'

const [root = '', passphrase = '', endpoint = ''] = process.argv.slice(2)
let armed = false
const { decide } = await signedFolder(root, {
  // Credentials as the signer finds them: AWS's SDK reads them from the environment.
  access: {
    passphrase: passphrase === '' ? null : passphrase,
    kms: async () => openKms({ endpoint }),
  },
  crashPoint: (name) => {
    if (armed && name === 'signer.signed') process.kill(process.pid, 'SIGKILL')
  },
})
armed = true
await decide('d')
