import type { Digest } from '../../src/domain/digest.ts'
import type { Effect, Endpoint } from '../../src/domain/effect.ts'
import { KilnError } from '../../src/domain/error.ts'
import { admissible, environmentOf, type Ledger } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { EdgeActivities } from '../../src/edge/activities.ts'
import type { Drift } from '../../src/domain/request.ts'
import { findDrift } from '../../src/runtime/drift.ts'
import type { Found } from '../../src/runtime/engine.ts'
import { emptyRecord } from '../../src/runtime/host-record.ts'
import type { RehearsalActivities } from '../../src/runtime/rehearsal.ts'
import type { ScanActivities } from '../../src/runtime/scan-activities.ts'
import type { Instance, RuntimeActivities, StartRequest } from '../../src/runtime/activities.ts'

type Standing = Instance & { environment: EnvironmentName }

/** A host and its edge in memory, with their rules: no old epoch, nothing that is not admissible. */
export class FakeHost {
  readonly instances = new Map<string, Standing>()
  /** Names of what stands in the edge, by environment. */
  readonly edge = new Map<EnvironmentName, Set<string>>()
  /** When an environment lost the last instance that served. */
  readonly gaps: string[] = []
  /** Environments that it was asked to look at; it fails where it is blind. */
  readonly scans: EnvironmentName[] = []
  isBlind = false
  /** What was started aside. */
  readonly rehearsed: Digest[] = []
  private readonly epochs = new Map<EnvironmentName, number>()
  private readonly made = new Set<string>()
  private readonly ended = new Set<string>()
  private readonly ledger: () => Promise<Ledger>

  constructor(ledger: () => Promise<Ledger>) {
    this.ledger = ledger
  }

  /** What runs in an environment, by name. */
  running(environment: EnvironmentName): Standing[] {
    return [...this.instances.values()]
      .filter((one) => one.environment === environment)
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** What gets the environment's requests. */
  serving(environment: EnvironmentName): Standing[] {
    return this.running(environment).filter((one) => this.edge.get(environment)?.has(one.name))
  }

  /** An instance dies, as by somebody's hand. */
  kill(name: string): void {
    const one = this.instances.get(name)
    if (one === undefined) throw new Error(`no instance ${name}`)
    this.instances.set(name, { ...one, state: 'exited', healthy: false })
    this.edge.get(one.environment)?.delete(name)
  }

  /** What the host's watch would tell now, by its own rule. */
  async look(environment: EnvironmentName): Promise<Drift[]> {
    const { active, epoch, open, running } = environmentOf(await this.ledger(), environment)
    const digest = active?.body.digest ?? ''
    const wanted = {
      instances: running.map((one) => ({ ...one, digest })),
      closed: open === null ? epoch : null,
    }
    const found = this.running(environment).map(({ id, name, state }) => ({ id, name, state }))
    const record = {
      ...emptyRecord(environment),
      epoch: this.epochs.get(environment) ?? 0,
      made: Object.fromEntries([...this.made].map((id) => [id, ''])),
      ended: [...this.ended],
    }
    return findDrift(wanted, found as Found[], record).map(
      ({ instance, cause, found: seen, expected }) => ({ instance, cause, found: seen, expected }),
    )
  }

  activities(): RuntimeActivities & EdgeActivities & ScanActivities & RehearsalActivities {
    return {
      rehearse: async ({ digest }) => {
        this.rehearsed.push(digest)
        return { pulledMs: 1, readyMs: 2 }
      },
      scan: async ({ environment }) => {
        if (this.isBlind) throw new Error('the host does not look')
        this.scans.push(environment)
        return { findings: [], complete: true }
      },
      observe: async (request) => {
        if ('epoch' in request) this.take(request)
        return { instances: this.running(request.environment) }
      },
      startInstances: (request) => this.start(request),
      waitReady: async (request) => {
        this.take(request)
        this.mustStand(request.instances)
      },
      stopInstances: async (request) => {
        this.take(request)
        for (const { name } of this.running(request.environment)) {
          if (request.keep.includes(name)) continue
          if (this.edge.get(request.environment)?.has(name)) {
            throw new Error(`${name} was stopped while it served`)
          }
          this.ended.add(this.instances.get(name)?.id ?? '')
          this.instances.delete(name)
        }
      },
      ensureEnvironment: async (request) => {
        this.take(request)
        if (!this.edge.has(request.environment)) this.edge.set(request.environment, new Set())
        return { address: '127.0.0.1', port: 8080 }
      },
      joinEdge: async (request) => {
        this.take(request)
        this.mustStand(request.instances)
        const servers = this.edge.get(request.environment)
        if (servers === undefined) throw new KilnError('edge_unavailable', 'not open at the edge')
        for (const { name } of request.instances) servers.add(name)
      },
      leaveEdge: async (request) => {
        this.take(request)
        const servers = this.edge.get(request.environment) ?? new Set()
        const before = servers.size
        for (const name of servers) if (!request.keep.includes(name)) servers.delete(name)
        if (before > 0 && servers.size === 0) this.gaps.push(`epoch ${request.epoch}`)
      },
      edgeState: async () => null,
    }
  }

  private take({ environment, epoch }: Effect): void {
    const seen = this.epochs.get(environment) ?? 0
    if (epoch < seen) throw new KilnError('fenced', `epoch ${seen} was seen, not ${epoch}`)
    this.epochs.set(environment, epoch)
  }

  private mustStand(endpoints: readonly Endpoint[]): void {
    for (const { name } of endpoints) {
      if (this.instances.get(name)?.healthy !== true) {
        throw new KilnError('change_failed', `the instance ${name} is gone`)
      }
    }
  }

  private async start(request: StartRequest): Promise<{ instances: Endpoint[] }> {
    this.take(request)
    const { environment, digest, definition, key, epoch } = request
    const may = admissible(await this.ledger(), environment).some(
      (one) => one.digest === digest && one.definition === definition && one.key === key,
    )
    if (!may) throw new KilnError('verification_failed', `${digest} is not admissible`)
    const names = Array.from(
      { length: request.count },
      (_, at) => `kiln-${environment.replace('/', '-')}-${epoch}-${at + 1}`,
    )
    return {
      instances: names.map((name) => {
        const there = this.instances.get(name)
        const id = `c${this.made.size + 1}`
        const one: Standing = there ?? {
          environment,
          name,
          id,
          address: '10.0.0.2',
          port: 8080,
          digest,
          definition,
          key,
          epoch,
          state: 'running',
          healthy: true,
        }
        this.made.add(one.id)
        this.instances.set(name, one)
        return { name, id: one.id, address: one.address, port: one.port }
      }),
    }
  }
}
