import { execa } from 'execa'
import { existsSync } from 'node:fs'

/** Where Debian keeps the certificates that the machine trusts. */
const systemCertificates = '/etc/ssl/certs/ca-certificates.crt'

/** The machine's own npm settings; used for fetching, never recorded. */
export async function npmSettings(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<{ registry: string | null; caFile: string | null }> {
  const asked = await execa('npm', ['config', 'get', 'registry'], {
    reject: false,
    stdin: 'ignore',
  })
  const registry =
    asked.exitCode === 0 ? asked.stdout.trim() : (environment['npm_config_registry'] ?? '')
  const caFile =
    environment['npm_config_cafile'] ?? environment['SSL_CERT_FILE'] ?? systemCertificates
  return {
    registry: URL.canParse(registry) ? registry : null,
    caFile: existsSync(caFile) ? caFile : null,
  }
}
