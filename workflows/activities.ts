import { proxyActivities, type ActivityOptions } from '@temporalio/workflow'
import type { BuildActivities } from '../src/build/activities.ts'
import type { EdgeActivities } from '../src/edge/activities.ts'
import type { InspectActivities } from '../src/inspect/activities.ts'
import type { LedgerActivities } from '../src/ledger/activities.ts'
import type { PromoteActivities } from '../src/promote/activities.ts'
import type { DenialActivities } from '../src/promote/denial-activities.ts'
import type { DeliveryActivities } from '../src/promote/delivery-activities.ts'
import type { RegistryActivities } from '../src/registry/activities.ts'
import type { RehearsalPlans } from '../src/promote/rehearsal.ts'
import type { RuntimeActivities } from '../src/runtime/activities.ts'
import type { RehearsalActivities } from '../src/runtime/rehearsal.ts'
import type { AnnouncementActivities } from '../src/source/announcement-activities.ts'
import type { SourceActivities } from '../src/source/activities.ts'
import type { TemplateActivities } from '../src/template/activities.ts'

/**
 * An outage (Docker, the signer, the store, a dead worker) pauses work: retried until the outer limit.
 * What can never succeed says so by its error's code and is not retried.
 */
const retry = {
  initialInterval: '200 milliseconds',
  backoffCoefficient: 1.6,
  maximumInterval: '5 seconds',
} as const satisfies ActivityOptions['retry']

/** Decisions: short, in the server's process; a dead server is noticed by its silence. */
export const control = proxyActivities<
  LedgerActivities &
    PromoteActivities &
    RegistryActivities &
    DeliveryActivities &
    DenialActivities &
    AnnouncementActivities &
    RehearsalPlans
>({
  taskQueue: 'control',
  startToCloseTimeout: '1 minute',
  scheduleToCloseTimeout: '1 hour',
  heartbeatTimeout: '10 seconds',
  retry,
})

/** Told to forges: bounded, since nothing waits for a forge for long. */
export const announcing = proxyActivities<AnnouncementActivities>({
  taskQueue: 'control',
  startToCloseTimeout: '2 minutes',
  scheduleToCloseTimeout: '3 minutes',
  heartbeatTimeout: '10 seconds',
  retry,
})

/** Waits on other workflows: long, but only a heartbeat at work. */
export const waiting = proxyActivities<DeliveryActivities & DenialActivities>({
  taskQueue: 'control',
  startToCloseTimeout: '2 hours',
  heartbeatTimeout: '10 seconds',
  retry,
})

/** Work of minutes on the build worker; a dead worker is noticed by its silence. */
export const builder = proxyActivities<
  SourceActivities & TemplateActivities & BuildActivities & InspectActivities
>({
  taskQueue: 'build',
  startToCloseTimeout: '30 minutes',
  scheduleToCloseTimeout: '2 hours',
  heartbeatTimeout: '10 seconds',
  retry,
})

/** Effects on one host, whose worker checks keys itself. */
export function hostActivities(host: string) {
  return proxyActivities<RuntimeActivities & EdgeActivities & RehearsalActivities>({
    taskQueue: `host.${host}`,
    startToCloseTimeout: '10 minutes',
    scheduleToCloseTimeout: '1 hour',
    heartbeatTimeout: '10 seconds',
    retry,
  })
}
