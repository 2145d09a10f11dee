import { join, resolve } from 'node:path'
import pino from 'pino'
import type { LocalProcess, LocalStatus, LocalVerbs, Report } from '../cli/local-port.ts'
import { loadConfig, type Config } from './config.ts'
import { localDoctor } from './local-doctor.ts'
import { localEvidence, localJudge } from './local-evidence.ts'
import { localFsck, localReindex } from './local-ledger.ts'
import { demandRestored } from './backup/demand-restored.ts'
import { localMonitor } from './local-monitor.ts'
import { localBackup, localRestore } from './local-recovery.ts'
import { readHostAlarm } from './host-alarm.ts'
import { localRepositories } from './local-repositories.ts'
import { localPrune } from './local-prune.ts'
import { localTemplates } from './local-templates.ts'
import { localVerify } from './local-verify.ts'
import { readObjectStore } from './object-store.ts'
import { childEnvironment, secretVariables } from './processes.ts'
import { launchSupervisor, stopSupervisor } from './supervisor/control.ts'
import { readSupervisorState, type SupervisorState } from './supervisor/state.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Verbs that need no server, on the machine's own configuration. */
export function createLocalVerbs({ home, env }: { home: string; env: Environment }): LocalVerbs {
  const environment = { ...env, KILN_HOME: home }
  const config = loadConfig(environment, process.cwd())
  const logger = pino({ level: 'silent' })
  const store = () => readObjectStore(config.store, { readOnly: false }).store
  return {
    up: (report) => up(config, environment, report),
    async down(report) {
      const running = statusOf(config).processes.filter((one) => one.state !== 'stopped')
      report('stopping')
      const stopped = await stopSupervisor(config.paths, { logger })
      return { stopped: stopped ? running.map((one) => one.name) : [] }
    },
    status: async () => statusOf(config),
    doctor: () => localDoctor(config, environment),
    ...localTemplates(config, store),
    ...localRepositories(config, environment),
    verify: (what) => localVerify(config, what),
    evidence: (what, file) =>
      localEvidence(config, what, { folder: process.cwd(), file, now: new Date() }),
    judge: (file, root) => localJudge(config, resolve(file), root),
    fsck: (report) => localFsck(config, report),
    monitor: (request) =>
      localMonitor(request, {
        env,
        standard: `http://127.0.0.1:${config.ports.api}`,
        now: () => new Date(),
      }),
    backup: (folder, passphrase, report) =>
      localBackup({ config, environment: env, folder }, passphrase, report),
    restore: (folder, passphrase, report) =>
      localRestore({ config, environment: env, folder }, passphrase, report),
    reindex: () => localReindex(config),
    prune: (dryRun) => localPrune(config, dryRun),
  }
}

async function up(
  config: Config,
  environment: Environment,
  report: Report,
): Promise<LocalStatus & { already: boolean }> {
  demandRestored(config.paths)
  const before = readSupervisorState(config.home)
  if (before.kind === 'running' && before.state.phase === 'ready')
    return { ...statusOf(config), already: true }
  const said = new Map<string, string>()
  await launchSupervisor({
    paths: config.paths,
    command: process.execPath,
    args: ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'supervise.ts')],
    environment: {
      ...childEnvironment(environment),
      ...secretVariables(environment),
      KILN_HOME: config.home,
    },
    onState: (state) => sayChanges(state, said, report),
  })
  return { ...statusOf(config), already: false }
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

function statusOf(config: Config): LocalStatus {
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
  return { home: config.home, running, processes, hostAlarm: readHostAlarm(config.paths.hostAlarm) }
}
