import { execa } from 'execa'

export type MadeCertificate = { certificate: string; key: string; both: string }

/** A certificate of its own for the hosts, as PEM. It is valid for so many days from now. */
export async function makeCertificate(
  hosts: readonly string[],
  key: readonly string[] = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  days = 1,
): Promise<MadeCertificate> {
  const names = hosts.map((host) => `DNS:${host}`).join(',')
  const san = hosts.length === 0 ? [] : ['-addext', `subjectAltName=${names}`]
  const { stdout } = await execa(
    'openssl',
    [
      'req',
      '-x509',
      ...key,
      '-nodes',
      '-keyout',
      '-',
      '-out',
      '-',
      '-days',
      String(days),
      '-subj',
      '/CN=x',
      ...san,
    ],
    { stderr: 'ignore' },
  )
  const at = stdout.indexOf('-----BEGIN CERTIFICATE-----')
  const [keyPem, certificate] = [stdout.slice(0, at), stdout.slice(at)]
  return { certificate, key: keyPem, both: `${certificate}\n${keyPem}` }
}
