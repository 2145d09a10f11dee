import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { findTool } from './find-tool.ts'

/** No network, no home, no proxy: what is on disk must be enough. */
export const offlineIn = (folder: string) => ({
  extendEnv: false,
  reject: false,
  env: { HOME: folder, https_proxy: 'http://127.0.0.1:1', http_proxy: 'http://127.0.0.1:1' },
})

/** What the real cosign says of a provisioning key's bundle about `<folder>/artifact`. */
export async function cosignBlob(
  folder: string,
  bundle: Uint8Array,
  { key = 'trust/promote.pub', trust = 'trust' }: { key?: string; trust?: string } = {},
) {
  const path = join(folder, 'bundle.json')
  await writeFile(path, bundle)
  return execa(
    findTool('cosign'),
    [
      'verify-blob-attestation',
      '--key',
      join(folder, key),
      '--trusted-root',
      join(folder, trust, 'trusted_root.json'),
      '--bundle',
      path,
      '--type',
      'https://slsa.dev/verification_summary/v1',
      join(folder, 'artifact'),
    ],
    offlineIn(folder),
  )
}
