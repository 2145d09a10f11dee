import type { HistoryEntry, Page, PageRequest, ServerStatus, Views } from '../api/ports.ts'
import { denialOf } from '../domain/fold-denial.ts'
import { shortDigest } from '../domain/digest.ts'
import type { EnvironmentState, Ledger } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { readState } from '../edge/state.ts'
import type { Entrance } from '../edge/entrance.ts'
import { readCertificateReport } from '../edge/watch-certificates.ts'
import type { Route } from '../domain/definition.ts'
import { certificateReportOf, edgePathsOf } from './edge-paths.ts'
import type { Engine } from './engine.ts'
import { blobBytes, readDefinition } from './ledger-view.ts'
import type { ProcessContext } from './process.ts'
import type { OwnedLedger } from './server-ledger.ts'
import { readSupervisorState } from './supervisor/state.ts'
import { keyAsked, verifiedKey } from './verified-key.ts'
import { createViews } from './views.ts'

type Input = {
  context: ProcessContext
  owned: OwnedLedger
  history: (name: EnvironmentName, page: PageRequest) => Promise<Page<HistoryEntry>>
  engine: Pick<Engine, 'checkSecrets'>
  version: string
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

/** The views of a running server: ledger, store, the edge's state and the supervisor's. */
export function createServerViews({ context, owned, history, engine, version }: Input): Views {
  const { paths } = context
  const { ledger, store } = owned
  const startedAt = new Date().toISOString()
  return createViews({
    ledger: ledger.refresh,
    history,
    async address(name) {
      const { environments } = await readState(edgePathsOf(paths).state)
      const found = environments.find((one) => one.environment === name)
      return found === undefined ? null : `http://127.0.0.1:${found.port}`
    },
    routeAddress: (route) => addressOf(context.config.entrance, route),
    async attached(digest, what) {
      const sealed = (await ledger.refresh()).sealed.get(digest)
      if (sealed === undefined) return undefined
      switch (what) {
        case 'files':
          return text(await blobBytes(store, sealed.body.files))
        case 'sbom':
          return statementOf(owned, sealed.body.sbom)
        case 'provenance':
          return text((await ledger.publishedBundle(sealed.body.provenance)).bytes)
      }
    },
    verification: async (name, sequence) => {
      const facts = { reader: ledger, ledger: await ledger.refresh() }
      return verifiedKey(facts, keyAsked(facts, name, sequence))
    },
    keyBundle: async (key) => text((await ledger.publishedBundle(key.leaf)).bytes),
    secrets: async (definition) => {
      const { secrets } = await readDefinition(store, definition)
      return secrets === undefined ? [] : engine.checkSecrets(secrets)
    },
    status: () => status({ context, owned, version, startedAt }),
  })
}

/** Where a route is reached; without a host by the entrance's own address. TLS where there is one. */
function addressOf({ address, port, tls }: Entrance, { host, path = '' }: Route): string {
  const name = host ?? (address === '0.0.0.0' ? '127.0.0.1' : address)
  const withTls = tls !== null && host !== undefined
  const [scheme, at, usual] = withTls ? ['https', tls.port, 443] : ['http', port, 80]
  return `${scheme}://${name}${at === usual ? '' : `:${at}`}${path === '/' ? '' : path}`
}

async function entranceOf({ config, paths }: ProcessContext): Promise<ServerStatus['entrance']> {
  const { address, port, tls } = config.entrance
  return {
    address: `http://${address}:${port}`,
    tls: tls === null ? null : `https://${address}:${tls.port}`,
    certificates: tls === null ? [] : await readCertificates(certificateReportOf(paths)),
  }
}

async function readCertificates(path: string): Promise<ServerStatus['entrance']['certificates']> {
  const found = await readCertificateReport(path)
  return found.map((one) => ({ ...one, hosts: [...one.hosts] }))
}

/** The predicate of a signed statement: of an SBOM the CycloneDX document itself. */
async function statementOf({ ledger }: OwnedLedger, leaf: string): Promise<string> {
  const bundle = await ledger.bundleOf(leaf)
  const payload = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString('utf8')
  return JSON.stringify((JSON.parse(payload) as { predicate: unknown }).predicate)
}

async function status({
  context,
  owned,
  version,
  startedAt,
}: Omit<Input, 'history' | 'engine'> & { startedAt: string }): Promise<ServerStatus> {
  const { state } = readSupervisorState(context.config.home)
  const known = await owned.ledger.refresh()
  return {
    version,
    startedAt,
    processes: (state?.processes ?? []).map(({ name, state: now, lastExit }) => ({
      name,
      state: now,
      detail: lastExit,
    })),
    versions: { node: process.version },
    ledger: { origin: context.config.origin, size: known.size },
    alarms: alarmsOf(known),
    entrance: await entranceOf(context),
  }
}

/** What a person has to look at: an alarm, what still serves although it was denied, and who may be inside. */
function alarmsOf(known: Ledger): ServerStatus['alarms'] {
  return [...known.environments.values()].flatMap((state) => [
    ...alarmOf(known, state),
    ...state.entered.map(({ instance, since, until, by, reason }) => {
      const message = `${instance} was entered by ${by}, until ${until}: ${reason}`
      return { environment: state.environment, since, message }
    }),
  ])
}

function alarmOf(
  known: Ledger,
  { active, alarm, environment }: EnvironmentState,
): ServerStatus['alarms'] {
  const denial = active === null ? null : denialOf(known, active)
  if (active === null || denial === null)
    return alarm === null ? [] : [{ environment, since: alarm.since, message: alarm.message }]
  const { reason, requestedBy } = denial.body
  const message = `still serves ${shortDigest(active.body.digest)}, denied by ${requestedBy}: ${reason}`
  return [{ environment, since: denial.time, message }]
}
