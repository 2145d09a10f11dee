import { createHash, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'

export type CertificateFault =
  | 'unreadable'
  | 'open-to-all'
  | 'two-files'
  | 'no-host-name'
  | 'no-certificate'
  | 'no-key'
  | 'protected-key'
  | 'weak-key'
  | 'mismatched'
  | 'wrong-host'
  | 'not-yet-valid'
  | 'expired'
  | 'refused-by-haproxy'

/** Of a certificate that may be served: public facts, and the text with its key for HAProxy alone. */
export type GoodCertificate = {
  kind: 'good'
  name: string
  hosts: readonly string[]
  /** ISO 8601. */
  expires: string
  /** SHA-256 over the certificates of the file, without the key. */
  digest: string
  pem: string
}

export type RefusedCertificate = {
  kind: 'refused'
  name: string
  fault: CertificateFault
  /** Never holds a line of a file. */
  message: string
  fix: string
}

export type Judged = GoodCertificate | RefusedCertificate

const host = /^(_\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/
const leastRsaBits = 2048

export function refused(
  name: string,
  fault: CertificateFault,
  message: string,
): RefusedCertificate {
  return { kind: 'refused', name, fault, message, fix: fixes[fault] }
}

const fixes: Readonly<Record<CertificateFault, string>> = {
  unreadable: 'let the user that runs Kiln read the file',
  'open-to-all': 'chmod o= on the file that holds the key',
  'two-files': 'keep either <host>.pem, or <host>.crt with <host>.key',
  'no-host-name': 'name it <host>.pem; for *.example.test: _.example.test.pem',
  'no-certificate': 'put the certificate, then the chain to its root, as PEM into the file',
  'no-key': 'put the private key as PEM into <host>.pem or <host>.key',
  'protected-key': 'store the key without a passphrase, readable by the user that runs Kiln only',
  'weak-key': 'use ECDSA P-256, or RSA with 2048 bits or more',
  mismatched: 'install the key that the certificate was made for',
  'wrong-host': "have one issued that names the host in its subject's alternative names",
  'not-yet-valid': "look at this machine's clock, or wait",
  expired: 'renew it',
  'refused-by-haproxy': 'the log of the host process has the reason',
}

/**
 * Whether a certificate may be served for the host that its file is named after: a certificate and the key
 * that belongs to it, for this host, valid now. Pure.
 */
export function judgeCertificate(name: string, pem: string, now: Date): Judged {
  if (!host.test(name)) return refused(name, 'no-host-name', `${name} is not a host name`)
  const parts = partsOf(name, pem)
  if ('kind' in parts) return parts
  const { leaf, key, chain, keyPem } = parts
  const fault = faultOf({ name, leaf, key, now })
  if (fault !== null) return fault
  return {
    kind: 'good',
    name,
    ...publicFacts(leaf),
    digest: certificatesDigest(chain.join('\n')),
    pem: `${[...chain, keyPem].join('\n')}\n`,
  }
}

type PublicFacts = Pick<GoodCertificate, 'hosts' | 'expires'>

function publicFacts(leaf: X509Certificate): PublicFacts {
  return { hosts: hostsOf(leaf), expires: new Date(leaf.validTo).toISOString() }
}

/** Whether HAProxy would show it to who asks for this host. */
export function covers({ pem }: GoodCertificate, asked: string): boolean {
  return new X509Certificate(pem).checkHost(asked, { subject: 'never' }) !== undefined
}

/** Of a certificate that is served, expired or not; null when there is none in the text. */
export function factsOf(pem: string): PublicFacts | null {
  const leaf = parseCertificate(blocksOf(pem)[0]?.text ?? '')
  return leaf === null ? null : publicFacts(leaf)
}

type Parts = { leaf: X509Certificate; key: KeyObject; chain: readonly string[]; keyPem: string }

function partsOf(name: string, pem: string): Parts | RefusedCertificate {
  const blocks = blocksOf(pem)
  const chain = blocks.filter(({ label }) => label === 'CERTIFICATE').map(({ text }) => text)
  const [leaf] = chain.map(parseCertificate)
  if (
    leaf === undefined ||
    chain.some((text) => parseCertificate(text) === null) ||
    leaf === null
  ) {
    return refused(name, 'no-certificate', `${name}: no readable certificate`)
  }
  const [keyBlock] = blocks.filter(({ label }) => label.endsWith('PRIVATE KEY'))
  if (keyBlock === undefined) return refused(name, 'no-key', `${name}: no private key`)
  if (keyBlock.label.startsWith('ENCRYPTED') || keyBlock.text.includes('Proc-Type: 4,ENCRYPTED')) {
    return refused(name, 'protected-key', `${name}: the private key has a passphrase`)
  }
  const key = parseKey(keyBlock.text)
  if (key === null) return refused(name, 'no-key', `${name}: the private key cannot be read`)
  return { leaf, key, chain, keyPem: keyBlock.text }
}

function faultOf(given: {
  name: string
  leaf: X509Certificate
  key: KeyObject
  now: Date
}): RefusedCertificate | null {
  const { name, leaf, key, now } = given
  if (!leaf.checkPrivateKey(key)) {
    return refused(name, 'mismatched', `${name}: the key belongs to another certificate`)
  }
  const bits = key.asymmetricKeyDetails?.modulusLength
  if (bits !== undefined && bits < leastRsaBits) {
    return refused(name, 'weak-key', `${name}: an RSA key of ${bits} bits is too short`)
  }
  const wanted = name.replace(/^_\./, 'any.')
  if (leaf.checkHost(wanted, { subject: 'never' }) === undefined) {
    const hosts = hostsOf(leaf).join(', ') || 'no host'
    return refused(name, 'wrong-host', `${name}: the certificate is for ${hosts}`)
  }
  if (now < new Date(leaf.validFrom)) {
    return refused(name, 'not-yet-valid', `${name}: valid from ${leaf.validFrom}`)
  }
  return now < new Date(leaf.validTo)
    ? null
    : refused(name, 'expired', `${name}: expired ${leaf.validTo}`)
}

function hostsOf({ subjectAltName = '' }: X509Certificate): string[] {
  return subjectAltName.split(', ').flatMap((one) => {
    return one.startsWith('DNS:') ? [one.slice('DNS:'.length)] : []
  })
}

type Block = { label: string; text: string }

function blocksOf(pem: string): Block[] {
  const form = /-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g
  return [...pem.matchAll(form)].map(([text, label = '']) => ({ label, text }))
}

function parseCertificate(text: string): X509Certificate | null {
  try {
    return new X509Certificate(text)
  } catch {
    return null
  }
}

function parseKey(text: string): KeyObject | null {
  try {
    return createPrivateKey(text)
  } catch {
    return null
  }
}

/** What HAProxy is told of a file's content: a renewed certificate is another shape. Says nothing of the key. */
export function certificatesDigest(pem: string): string {
  const chain = blocksOf(pem).filter(({ label }) => label === 'CERTIFICATE')
  return createHash('sha256')
    .update(chain.map(({ text }) => text).join('\n'))
    .digest('hex')
}

/** Whether HAProxy could load the file: one broken file would keep it from starting at all. */
export function isLoadable(pem: string): boolean {
  const parts = partsOf('file', pem)
  return !('kind' in parts) && parts.leaf.checkPrivateKey(parts.key)
}
