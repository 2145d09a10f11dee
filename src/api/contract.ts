import { z } from 'zod'
import type { Answer, Input, Route } from './route.ts'
import {
  delivery,
  denying,
  document,
  entering,
  environmentParams,
  get,
  json,
  keySequence,
  longText,
  ofArtifact,
  ofEnvironment,
  operationId,
  page,
  paging,
  plain,
  post,
  prefix,
  reason,
  scanning,
  started,
  tailLines,
} from './route-parts.ts'
import { ledgerRoutes } from './ledger-routes.ts'
import { signingRoutes } from './signing-routes.ts'
import { verification } from './verification-view.ts'
import * as views from './views.ts'
import { webhookDelivery } from './webhook-view.ts'

/** The contract that server, command line and dashboard share. Formats are versioned from the first byte. */
export const routes = {
  health: {
    ...get,
    access: 'open',
    path: '/health',
    summary: 'Whether the server answers',
    answer: json(z.object({ ok: z.literal(true) })),
  },
  openapi: { ...get, path: '/openapi.json', summary: 'This document', answer: document },
  status: {
    ...get,
    path: `${prefix}/status`,
    summary: 'Processes and versions',
    answer: json(views.serverStatus),
  },

  startBuild: {
    ...post,
    path: `${prefix}/builds`,
    summary: 'Build an artifact from a commit; the same build again is the same operation',
    body: delivery,
  },
  startRebuild: {
    ...post,
    path: `${prefix}/rebuilds`,
    summary: 'Build an artifact again from its record and compare',
    body: z.strictObject({ digest: views.digest }),
  },
  buildLog: {
    ...get,
    path: `${prefix}/builds/:id/log`,
    summary: "A build's log",
    params: operationId,
    query: z.strictObject({ tail: tailLines }),
    answer: plain,
  },

  operations: {
    ...get,
    path: `${prefix}/operations`,
    summary: 'Operations, newest first',
    query: z.strictObject(paging),
    answer: page(views.operation),
  },
  operation: {
    ...get,
    path: `${prefix}/operations/:id`,
    summary: 'One operation',
    params: operationId,
    answer: started,
  },
  events: {
    ...get,
    path: `${prefix}/operations/:id/events`,
    summary: 'Snapshots of one operation as they happen, until it ended; Last-Event-ID goes on',
    params: operationId,
    answer: { kind: 'events', schema: views.operation },
  },
  cancel: {
    ...post,
    path: `${prefix}/operations/:id/cancel`,
    summary: 'Ask an operation to stop',
    params: operationId,
  },

  environments: {
    ...get,
    path: `${prefix}/environments`,
    summary: 'Every environment: what is active, open and held',
    answer: json(z.object({ items: z.array(views.environmentTile) })),
  },
  environment: {
    ...get,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment`,
    summary: 'One environment',
    answer: json(views.environmentDetail),
  },
  history: {
    ...get,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/history`,
    summary: "An environment's changes, newest first",
    query: z.strictObject(paging),
    answer: page(views.historyEntry),
  },
  rollbackTargets: {
    ...get,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/rollback-targets`,
    summary: 'Earlier good artifacts, newest first',
    answer: json(z.object({ items: z.array(views.rollbackTarget) })),
  },
  verification: {
    ...get,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/verification`,
    summary: 'The active key, or the one of a sequence, judged by the function that hosts ask',
    query: z.strictObject({ sequence: keySequence.optional() }),
    answer: json(verification),
  },
  candidates: {
    ...get,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/candidates`,
    summary: 'What could be promoted here, and the reasons against what may not',
    answer: json(z.object({ items: z.array(views.candidate) })),
  },
  instanceLogs: {
    ...get,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/logs`,
    summary: "The instances' last lines",
    query: z.strictObject({ tail: tailLines }),
    answer: plain,
  },
  promote: {
    ...post,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/promote`,
    summary: 'Make a digest that the previous environment has proved active here',
    body: z.strictObject({ digest: views.digest, reason }),
  },
  rollback: {
    ...post,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/rollback`,
    summary: 'Return to an earlier good artifact; without `to`, to the one the key names',
    body: z.strictObject({ to: views.digest.optional(), reason }),
  },
  scale: {
    ...post,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/scale`,
    summary: 'Change the number of instances',
    body: z.strictObject({ instances: z.number().int().min(0).max(1000), reason }),
  },
  rotate: {
    ...post,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/rotate`,
    summary: 'Replace all instances, so that they get the secrets that the host has now',
    body: z.strictObject({ reason }),
  },
  secrets: {
    ...get,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/secrets`,
    summary: "The environment's secrets by reference, and whether its host has them; never a value",
    answer: json(z.object({ items: z.array(views.secretState) })),
  },
  release: {
    ...post,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/release`,
    summary: 'Lift the hold that a rollback set, or with `alarm` the alarm of repeated drift',
    body: z.strictObject({ reason, alarm: z.boolean().default(false) }),
  },
  scan: scanning,
  breakGlass: entering,
  rehearse: {
    ...post,
    ...ofEnvironment,
    path: `${prefix}/environments/:app/:environment/rehearse`,
    summary: 'Prove that the rollback target can still be pulled, verified and started',
  },

  revoke: denying,

  artifacts: {
    ...get,
    path: `${prefix}/artifacts`,
    summary: 'Sealed artifacts, newest first',
    query: z.strictObject({ app: views.appLabel.optional(), ...paging }),
    answer: page(views.artifact),
  },
  artifact: {
    ...get,
    ...ofArtifact,
    path: `${prefix}/artifacts/:digest`,
    summary: 'One artifact, by its digest or a unique beginning of at least 6 characters',
    answer: json(views.artifact),
  },
  sbom: {
    ...get,
    ...ofArtifact,
    path: `${prefix}/artifacts/:digest/sbom`,
    summary: 'What is inside (CycloneDX)',
    answer: document,
  },
  files: {
    ...get,
    ...ofArtifact,
    path: `${prefix}/artifacts/:digest/files`,
    summary: 'The per-file manifest',
    answer: document,
  },
  provenance: {
    ...get,
    ...ofArtifact,
    path: `${prefix}/artifacts/:digest/provenance`,
    summary: 'How it was made (SLSA provenance, as a signed bundle)',
    answer: document,
  },
  key: {
    ...get,
    path: `${prefix}/keys/:app/:environment/:sequence`,
    summary: 'A provisioning key, as a signed bundle',
    params: environmentParams.extend({ sequence: keySequence }),
    answer: document,
  },

  startWatch: {
    ...post,
    status: 200,
    path: `${prefix}/watches`,
    summary: 'Poll branches of a repository and build their commits',
    body: z.strictObject({
      repository: longText,
      branches: z.array(z.string().min(1).max(250)).min(1).max(50).default(['main']),
    }),
    answer: json(z.object({ watch: views.watch })),
  },
  watches: {
    ...get,
    path: `${prefix}/watches`,
    summary: 'The repositories that are polled',
    answer: json(z.object({ items: z.array(views.watch) })),
  },
  stopWatch: {
    ...get,
    method: 'DELETE',
    path: `${prefix}/watches/:id`,
    summary: 'Stop polling',
    params: operationId,
    answer: json(z.object({ watch: views.watch })),
  },

  webhooks: {
    ...get,
    path: `${prefix}/webhooks`,
    summary: 'Deliveries of webhooks whose signature was right, newest first',
    query: z.strictObject({ limit: z.coerce.number().int().min(1).max(200).default(50) }),
    answer: json(z.object({ items: z.array(webhookDelivery) })),
  },

  ...ledgerRoutes,
  ...signingRoutes,
} as const satisfies Record<string, Route>

export type Routes = typeof routes
export type RouteName = keyof Routes
export type AnswerOf<N extends RouteName> = Answer<Routes[N]>
export type InputOf<N extends RouteName> = Input<Routes[N]>
