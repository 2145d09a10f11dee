import { execa } from 'execa'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { signerClient } from '../../signing/signer-client.ts'
import type { TrustRoot } from '../../signing/trust.ts'
import { readTrust } from '../../signing/trust-files.ts'
import type { SignerPort } from '../../src/ledger/ledger-writer.ts'
import { eventually, root } from '../demo/kiln.ts'

export type OwnSigner = { folder: string; signer: SignerPort; trust: TrustRoot }

/** The work beside a signer process of its own, whose home is this folder; nothing of it stays. */
export async function withSigner<T>(
  folder: string,
  work: (own: OwnSigner) => Promise<T>,
): Promise<T> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const stop = new AbortController()
  const signer = execa(process.execPath, [join(root, 'src/main/signer.ts')], {
    env: { KILN_HOME: folder, KILN_LOG_LEVEL: 'warn' },
    stdout: 'ignore',
    stderr: 'inherit',
    cancelSignal: stop.signal,
    reject: false,
  })
  try {
    return await work(await answering(folder))
  } finally {
    stop.abort()
    await signer
    // What failed may still be writing, and is what counts.
    await rm(folder, { recursive: true, force: true, maxRetries: 5 }).catch(() => undefined)
  }
}

async function answering(folder: string): Promise<OwnSigner> {
  const trust = await eventually('the signer writes its public keys', 30, () =>
    readTrust(join(folder, 'trust')).catch(() => undefined),
  )
  const socket = join(folder, 'run/signer.sock')
  const signer = signerClient({ socket, origin: trust.origin, timeoutMs: 30_000 })
  await eventually('the signer answers', 30, () =>
    signer.health().then(
      () => true,
      () => undefined,
    ),
  )
  return { folder, signer, trust }
}
