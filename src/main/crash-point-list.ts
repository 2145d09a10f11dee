import type { BuildActivities } from '../build/activities.ts'
import type { EdgeActivities } from '../edge/activities.ts'
import type { InspectActivities } from '../inspect/activities.ts'
import type { LedgerActivities } from '../ledger/activities.ts'
import type { PromoteActivities } from '../promote/activities.ts'
import type { DenialActivities } from '../promote/denial-activities.ts'
import type { DeliveryActivities } from '../promote/delivery-activities.ts'
import type { RegistryActivities } from '../registry/activities.ts'
import type { RehearsalPlans } from '../promote/rehearsal.ts'
import type { RuntimeActivities } from '../runtime/activities.ts'
import type { RehearsalActivities } from '../runtime/rehearsal.ts'
import type { AnnouncementActivities } from '../source/announcement-activities.ts'
import type { SourceActivities } from '../source/activities.ts'
import type { TemplateActivities } from '../template/activities.ts'

/**
 * Every named crash point, by the process that passes it. The compiler holds that no activity is missing
 * here; the recording run of the chaos tests holds that each is passed, and that none is passed that is
 * not here.
 */

type Names<A> = { readonly [N in keyof A]: true }

/** Work of the queue `control`. */
const server = {
  authorizeWork: true,
  identifyBuild: true,
  runBuild: true,
  runDelivery: true,
  readBuildRecord: true,
  decideChange: true,
  promoteOnwards: true,
  promoteFirst: true,
  signArtifact: true,
  sealArtifact: true,
  recordRejected: true,
  recordChange: true,
  issueKey: true,
  recordActivation: true,
  recordDrifts: true,
  recordRelease: true,
  recordRefusal: true,
  recordBreakGlass: true,
  recordDenial: true,
  returnDenied: true,
  awaitReturn: true,
  planRehearsal: true,
  publishArtifact: true,
  attachBundle: true,
  recordHint: true,
  writeStatus: true,
} as const satisfies Names<
  LedgerActivities &
    PromoteActivities &
    RegistryActivities &
    DeliveryActivities &
    DenialActivities &
    AnnouncementActivities &
    RehearsalPlans
>

const build = {
  readHeads: true,
  isOnBranch: true,
  resolveSource: true,
  checkTemplate: true,
  fetchDependencies: true,
  buildImage: true,
  compareArtifacts: true,
  makeSbom: true,
} as const satisfies Names<
  SourceActivities & TemplateActivities & BuildActivities & InspectActivities
>

const host = {
  observe: true,
  startInstances: true,
  waitReady: true,
  stopInstances: true,
  ensureEnvironment: true,
  joinEdge: true,
  leaveEdge: true,
  edgeState: true,
  rehearse: true,
} as const satisfies Names<RuntimeActivities & EdgeActivities & RehearsalActivities>

/** No workflow calls it: people and tests look. */
const unused: readonly string[] = ['edgeState'] satisfies (keyof EdgeActivities)[]
/** Passed only where a forge is known; test/workflows/announcements.test.ts breaks each of them. */
const forForges: readonly string[] = ['isOnBranch', 'recordHint', 'writeStatus'] satisfies (
  | keyof SourceActivities
  | keyof AnnouncementActivities
)[]

/** Passed only where somebody is let into an instance; test/workflows/faults.test.ts breaks it. */
const byHand: readonly string[] = ['recordBreakGlass'] satisfies (keyof LedgerActivities)[]

/** A round of work rehearses nothing; test/runtime/rehearsal.test.ts kills a host at each of the points within. */
const forRehearsals: readonly string[] = ['planRehearsal', 'rehearse'] satisfies (
  | keyof RehearsalPlans
  | keyof RehearsalActivities
)[]
/** A round of work rotates no key; test/main/rotation.test.ts kills a signer at each of them. */
const withinRotations = ['key-made', 'roles-durable']
const withinRehearsals = ['pulled', 'network', 'created', 'started', 'ready', 'ended']
/** Of `kiln gc --apply`, which no process of Kiln does; test/retention/killed.test.ts kills one at each of them. */
const withinCollections = ['noted', 'announced', 'removed', 'taken-back']

const notInEachRound: readonly string[] = [...unused, ...forForges, ...byHand, ...forRehearsals]

function around(activities: object): readonly string[] {
  return Object.keys(activities)
    .filter((name) => !notInEachRound.includes(name))
    .flatMap((name) => [`${name}.start`, `${name}.done`])
}

/** Points that work may pass and need not; the last only where an environment has secrets. */
export const otherCrashPoints: readonly string[] = [
  ...notInEachRound.flatMap((name) => [`${name}.start`, `${name}.done`]),
  'runtime.secrets',
  ...withinRehearsals.map((name) => `rehearsal.${name}`),
  ...withinRotations.map((name) => `signer.${name}`),
  ...withinCollections.map((name) => `collection.${name}`),
]

export const crashPointProcesses = ['server', 'build', 'host', 'signer'] as const
export type CrashPointProcess = (typeof crashPointProcesses)[number]

export const declaredCrashPoints: Readonly<Record<CrashPointProcess, readonly string[]>> = {
  server: [
    ...around(server),
    'ledger.decision-stored',
    'ledger.bundle-stored',
    'ledger.staged',
    'ledger.checkpoint-signed',
    'ledger.tiles-stored',
    'ledger.head-swapped',
    'ledger.published',
  ],
  build: [
    ...around(build),
    'build.npm-ran',
    'build.fetched',
    'build.marked',
    'build.built',
    'build.pushed',
  ],
  host: [
    ...around(host),
    'runtime.keyed',
    'runtime.pulled',
    'runtime.network',
    'runtime.created',
    'runtime.noted',
    'runtime.started',
    'runtime.ending',
    'runtime.ended',
    'edge.state',
    'edge.config',
    'edge.reloaded',
    'edge.added',
    'edge.open',
    'edge.drained',
    'edge.deleted',
  ],
  signer: ['signer.signed', 'signer.checkpoint-made', 'signer.checkpoint-durable'],
}
