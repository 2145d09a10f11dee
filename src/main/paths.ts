import { join } from 'node:path'

/** Where everything lies below Kiln's home; the names are part of the backup guide. */
export type Paths = ReturnType<typeof pathsOf>

export function pathsOf(home: string) {
  const at = (...parts: string[]) => join(home, ...parts)
  return {
    home,
    /** The object store: the truth. */
    store: at('store'),
    /** Signing keys, the signer's alone. */
    keys: at('keys'),
    /** Public: trusted root, roles, public keys. */
    trust: at('trust'),
    /** Fingerprint of the root that this home believes. */
    pinnedRoot: at('pinned-root'),
    token: at('token'),
    /** The registry's passwords: `host`, `build`, `reader`. */
    credentials: at('credentials.json'),
    /** A Docker client configuration with the reader's password, for cosign and others. */
    dockerConfig: at('docker-config'),
    /** Address of the running API, for the command line. */
    api: at('api.json'),
    run: at('run'),
    /** What each worker has taken and not ended. */
    inFlight: at('run', 'in-flight'),
    signerSocket: at('run', 'signer.sock'),
    haproxySocket: at('run', 'haproxy.sock'),
    haproxyMasterSocket: at('run', 'haproxy-master.sock'),
    /** Accepted certificates with their keys, as HAProxy has loaded them; made anew from the operator's files. */
    tls: at('run', 'tls'),
    logs: at('logs'),
    buildLogs: at('logs', 'builds'),
    instanceLogs: at('logs', 'instances'),
    index: at('index'),
    temporal: at('temporal'),
    host: at('host'),
    /** Why the host starts nothing; absent while it does. */
    hostAlarm: at('host', 'alarm'),
    /** What the guard was told of how new the log is. */
    guard: at('guard'),
    /** What the guard refused, for people who look. */
    guardRefusals: at('guard', 'refusals.json'),
    edge: at('edge'),
    /** Secrets as files; the setting KILN_SECRETS names another folder. */
    secrets: at('secrets'),
    source: at('source'),
    work: at('work'),
    /** Blobs on their way to a bucket. */
    spool: at('work', 'upload'),
    /** Left by a restore that has not ended; Kiln does not start over it. */
    restoring: at('restoring.json'),
    /** Which repositories are watched. */
    watches: at('watches.json'),
    templates: at('templates'),
  }
}
