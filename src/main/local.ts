import { resolve } from 'node:path'
import pino from 'pino'
import type { LocalProcess, LocalStatus, LocalVerbs, Report } from '../cli/local-port.ts'
import { lowDisk } from '../store/free-space.ts'
import { loadConfig, type Config } from './config.ts'
import { demandRestored } from './backup/demand-restored.ts'
import { readHostAlarm } from './host-alarm.ts'
import { awsVariables, childEnvironment, secretVariables } from './processes.ts'
import { launchSupervisor, stopSupervisor } from './supervisor/control.ts'
import { readSupervisorState, type SupervisorState } from './supervisor/state.ts'
import { programFile } from './program.ts'

type Environment = Readonly<Record<string, string | undefined>>

const ledger = () => import('./local-ledger.ts')
const evidence = () => import('./local-evidence.ts')
const recovery = () => import('./local-recovery.ts')

/**
 * For a verb that uses each form a few dozen times: to make code of one first takes longer than to interpret it.
 * A form is made when its file is loaded, so this comes before.
 */
async function interpretForms(): Promise<void> {
  const { z } = await import('zod')
  z.config({ jitless: true })
}

/**
 * Verbs that need no server, on the machine's own configuration. Each brings its own code when it is
 * called: what all of them need together takes a second to load.
 */
export function createLocalVerbs({ home, env }: { home: string; env: Environment }): LocalVerbs {
  const environment = { ...env, KILN_HOME: home }
  const config = loadConfig(environment, process.cwd())
  const templates = async () => (await import('./local-templates.ts')).localTemplates(config)
  const repositories = async () =>
    (await import('./local-repositories.ts')).localRepositories(config, environment)
  return {
    up: (report) => up(config, environment, report),
    down: (report) => down(config, report),
    status: () => statusOf(config),
    doctor: async () => (await import('./local-doctor.ts')).localDoctor(config, environment),
    guard: async (socket) => (await import('./local-guard.ts')).localGuard(config, socket),
    templates: async () => (await templates()).templates(),
    template: async (name) => (await templates()).template(name),
    lockTemplate: async (name, report) => (await templates()).lockTemplate(name, report),
    checkTemplate: async (name) => (await templates()).checkTemplate(name),
    repositories: async () => (await repositories()).repositories(),
    addRepository: async (wanted) => (await repositories()).addRepository(wanted),
    removeRepository: async (address) => (await repositories()).removeRepository(address),
    checkRepository: async (address) => (await repositories()).checkRepository(address),
    async verify(what, root) {
      await interpretForms()
      const { localVerify } = await import('./local-verify.ts')
      return localVerify(config, what, root)
    },
    async evidence(what, file) {
      const { localEvidence } = await evidence()
      return localEvidence(config, what, { folder: process.cwd(), file, now: new Date() })
    },
    judge: async (file, root) => (await evidence()).localJudge(config, resolve(file), root),
    fsck: async (report) => (await ledger()).localFsck(config, report),
    async monitor(request) {
      const standard = `http://127.0.0.1:${config.ports.api}`
      const { localMonitor } = await import('./local-monitor.ts')
      return localMonitor(request, { env, standard, now: () => new Date() })
    },
    async backup(folder, passphrase, report) {
      const { localBackup } = await recovery()
      return localBackup({ config, environment: env, folder }, passphrase, report)
    },
    async restore(folder, passphrase, report) {
      const { localRestore } = await recovery()
      return localRestore({ config, environment: env, folder }, passphrase, report)
    },
    reindex: async () => (await ledger()).localReindex(config),
    encryptKeys: async () => (await import('./local-signing.ts')).localEncryptKeys(config),
    prune: async (dryRun) => (await import('./local-prune.ts')).localPrune(config, dryRun),
    gc: async (apply) => (await import('./local-gc.ts')).localGc(config, apply),
  }
}

async function down(config: Config, report: Report): Promise<{ stopped: readonly string[] }> {
  const running = processesOf(config).processes.filter((one) => one.state !== 'stopped')
  report('stopping')
  const logger = pino({ level: 'silent' })
  const stopped = await stopSupervisor(config.paths, { logger })
  return { stopped: stopped ? running.map((one) => one.name) : [] }
}

async function up(
  config: Config,
  environment: Environment,
  report: Report,
): Promise<LocalStatus & { already: boolean }> {
  demandRestored(config.paths)
  const before = readSupervisorState(config.home)
  if (before.kind === 'running' && before.state.phase === 'ready')
    return { ...(await statusOf(config)), already: true }
  const said = new Map<string, string>()
  await launchSupervisor({
    paths: config.paths,
    command: process.execPath,
    args: ['--disable-warning=ExperimentalWarning', programFile('supervise')],
    environment: {
      ...childEnvironment(environment),
      ...secretVariables(environment),
      ...awsVariables(environment),
      KILN_HOME: config.home,
    },
    onState: (state) => sayChanges(state, said, report),
  })
  return { ...(await statusOf(config)), already: false }
}

/** One line for each process when it becomes ready, and when it has to be started again. */
function sayChanges(state: SupervisorState, said: Map<string, string>, report: Report): void {
  for (const { name, state: now, lastExit } of state.processes) {
    if (said.get(name) === now || (now !== 'ready' && now !== 'restarting')) continue
    said.set(name, now)
    report(
      now === 'ready' ? `${name} is ready` : `${name} is started again: ${lastExit ?? 'it ended'}`,
    )
  }
}

const shown = {
  waiting: 'starting',
  starting: 'starting',
  ready: 'ready',
  restarting: 'restarting',
  stopping: 'ready',
  stopped: 'stopped',
  failed: 'stopped',
} as const satisfies Record<string, LocalProcess['state']>

function processesOf(config: Config): Pick<LocalStatus, 'running' | 'processes'> {
  const view = readSupervisorState(config.home)
  const running = view.kind === 'running'
  const processes = (view.state?.processes ?? []).map((one): LocalProcess => ({
    name: one.name,
    state: running ? shown[one.state] : 'stopped',
    pid: running ? one.pid : null,
    restarts: one.restarts,
    address: one.address,
    log: one.log,
  }))
  return { running, processes }
}

async function statusOf(config: Config): Promise<LocalStatus> {
  const { guardState, rootOf } = await import('./doctor/engine.ts')
  const { readRefusals } = await import('./guard-refusals.ts')
  const engines = [...new Set([config.docker.runtime, config.docker.build])]
  const [guard, ...roots] = await Promise.all([guardState(config), ...engines.map(rootOf)])
  return {
    home: config.home,
    ...processesOf(config),
    hostAlarm: readHostAlarm(config.paths.hostAlarm),
    guard,
    refusals: await readRefusals(config.paths.guardRefusals),
    lowDisk: await shortageOf(config, roots.flat()),
  }
}

/** By the same rule by which server and workers refuse to begin. */
async function shortageOf(
  { home, minFree }: Config,
  roots: readonly string[],
): Promise<LocalStatus['lowDisk']> {
  const fault = await lowDisk([home, ...roots], minFree)
  return fault === undefined
    ? null
    : { message: fault.message, place: fault.place ?? home, fix: fault.fix ?? '' }
}
