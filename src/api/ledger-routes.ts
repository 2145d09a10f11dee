import type { Route } from './route.ts'
import { document, get, json, plain, post, prefix, tilePath } from './route-parts.ts'
import { logEntry, logEntryRequest } from './log-entry-view.ts'
import * as views from './views.ts'

/** The log as auditors read it. */
export const ledgerRoutes = {
  // The log is public: it holds digests and signatures, and whoever audits needs no sign-in.
  checkpoint: {
    ...get,
    access: 'open',
    path: `${prefix}/checkpoint`,
    summary: "The log's signed checkpoint",
    answer: plain,
  },
  tile: {
    ...get,
    access: 'open',
    path: `${prefix}/tile/*`,
    summary: 'A tile of the log (C2SP tlog-tiles)',
    params: tilePath,
    answer: { kind: 'bytes', type: 'application/octet-stream' },
  },
  freshness: {
    ...get,
    access: 'open',
    path: `${prefix}/freshness`,
    summary: 'That the log is so now, signed: what hosts wait for before they start anything',
    answer: document,
  },
  trustedRoot: {
    ...get,
    access: 'open',
    path: `${prefix}/trusted_root.json`,
    summary: "Sigstore's trusted root of the log, for cosign --trusted-root",
    answer: document,
  },
  verifierKey: {
    ...get,
    access: 'open',
    path: `${prefix}/log.vkey`,
    summary: "The log's verifier key, for tools that read C2SP checkpoints",
    answer: plain,
  },
  /** Rekor v2, as Sigstore's clients write into a log: what opens it is the key that signed, not a token. */
  logEntry: {
    ...post,
    access: 'open',
    status: 201,
    path: '/api/v2/log/entries',
    summary: 'Log a signature by a key that may (Rekor v2)',
    body: logEntryRequest,
    answer: json(logEntry),
  },
  reindex: {
    ...post,
    status: 200,
    path: `${prefix}/reindex`,
    summary: 'Rebuild the SQL fold from the log',
    answer: json(views.reindexed),
  },
} as const satisfies Record<string, Route>
