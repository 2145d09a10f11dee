import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { memoryFolder, openSecretFiles, type SecretFiles } from '../runtime/secret-files.ts'
import { environmentSecrets, fileSecrets, type SecretSources } from '../runtime/secret-source.ts'
import type { Config } from './config.ts'

/** Where this host's secrets come from, and where its instances find them. */
export function hostSecrets(
  config: Config,
  environment: Readonly<Record<string, string | undefined>>,
): { sources: SecretSources; files: SecretFiles } {
  return {
    sources: {
      file: fileSecrets(config.secrets.folder),
      env: environmentSecrets(environment),
    },
    files: openSecretFiles(givenFolder(config)),
  }
}

/** Where instances of this host find theirs: two Kilns of one machine have a folder each. */
export function givenFolder({
  home,
  hostName,
  secrets,
}: Pick<Config, 'home' | 'hostName' | 'secrets'>): string {
  const own = createHash('sha256').update(`${home}\n${hostName}`).digest('hex').slice(0, 16)
  return join(secrets.memory ?? memoryFolder(), `kiln-secrets-${own}`)
}
