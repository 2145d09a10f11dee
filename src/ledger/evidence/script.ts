import { levelOf } from '../../../signing/vsa.ts'
import { names } from './format.ts'

/** All of it from names that their own rules keep plain, so that it may stand in a shell's line. */
export type About = {
  origin: string
  app: string
  own: string
  sequence: number
  sha256: string
  /** The key's bundle in the file. */
  statement: string
}

/** Checks the key with cosign and slsa-verifier alone; POSIX shell. */
export function scriptOf({ origin, app, own, sha256, statement }: About): string {
  return `#!/bin/sh
# Checks with other people's tools that this file's provisioning key is signed by promote.pub, is in the
# log, and promotes ${app} to ${own}. It needs cosign 3 and slsa-verifier 2.7 on PATH, and no network.
# What neither can say: the place in the environment's order, and denials; kiln verify does.
set -eu
cd "$(dirname "$0")"

cosign verify-blob-attestation \\
  --bundle ${statement} \\
  --key ${names.signer} \\
  --trusted-root ${names.trustedRoot} \\
  --type https://slsa.dev/verification_summary/v1 \\
  --digest ${sha256} --digestAlg sha256

slsa-verifier verify-vsa \\
  --subject-digest sha256:${sha256} \\
  --attestation-path ${names.envelope} \\
  --verifier-id https://${origin}/promoter/v1 \\
  --resource-uri 'oci://${origin}/${app}?environment=${own}' \\
  --verified-level ${levelOf(app, own)} \\
  --public-key-path ${names.signer}

echo "both agree: sha256:${sha256} may run in ${app}/${own}, if ${names.signer} is the key you trust"
`
}

export function readmeOf({ origin, app, own, sequence, sha256 }: About): string {
  return `Evidence for provisioning key ${sequence} of ${app}/${own}
sha256:${sha256}

  kiln verify <this file> --root sha256:…   judges it all, without a server and without a network
  sh verify.sh                              asks cosign and slsa-verifier about the key alone

index.json            what is here
statements/           signed statements with their proofs of inclusion (Sigstore bundles 0.3)
key.dsse.json         the key's bare envelope; promote.pub is the key that signed it
trust/                who may sign as what in the log ${origin}; the log's key
log/                  the signed checkpoint, and every entry below it: none was left out
blobs/                what the statements name by digest: manifest, definition, policy, files

A file of evidence brings its own keys along. It proves nothing until you compare the root's fingerprint with
one that you have from elsewhere: --root takes it, and kiln verify prints the one that it found.
`
}
