import { KilnError } from '../domain/error.ts'
import { ask } from './socket.ts'

/** One row of `show stat`: a frontend, a backend's total, or a server. */
export type Row = {
  proxy: string
  name: string
  /** `UP`, `DRAIN`, `MAINT`, `DOWN`, `UP 1/3`, … */
  status: string
  /** Requests that the server has now, and those that wait for it alone. For a frontend: its connections. */
  sessions: number
  queued: number
  /** `L7OK`, `L4CON`, `INI`, …; HAProxy puts `* ` before it while a check runs. */
  check: string
  address: string
}

export function parseStat(csv: string): Row[] {
  const [header = '', ...lines] = csv.split('\n').filter((line) => line.trim() !== '')
  const columns = header.replace(/^# /, '').split(',')
  return lines.map((line) => {
    const cells = line.split(',')
    const cell = (column: string) => cells[columns.indexOf(column)] ?? ''
    return {
      proxy: cell('pxname'),
      name: cell('svname'),
      status: cell('status'),
      sessions: Number(cell('scur')),
      queued: Number(cell('qcur')),
      check: cell('check_status').replace(/^\* /, ''),
      address: cell('addr'),
    }
  })
}

export async function showStat(socket: string): Promise<Row[]> {
  return parseStat(await ask(socket, 'show stat'))
}

/** The value of an environment variable that the configuration set; empty when it has none. */
export async function showVariable(socket: string, name: string): Promise<string> {
  const answer = await ask(socket, `show env ${name}`)
  return answer.startsWith(`${name}=`) ? answer.slice(name.length + 1) : ''
}

/** The process id of the worker that holds the socket now. */
export async function workerPid(socket: string): Promise<number> {
  const line = (await ask(socket, 'show info')).split('\n').find((one) => one.startsWith('Pid: '))
  return Number(line?.slice('Pid: '.length))
}

/** Sends a command whose success is silence or one of `expected`. Throws `edge_unavailable` with HAProxy's own words. */
export async function tell(
  socket: string,
  command: string,
  expected: readonly string[] = [],
): Promise<void> {
  const answer = await ask(socket, command)
  if (answer === '' || expected.includes(answer)) return
  throw new KilnError('edge_unavailable', `HAProxy refused "${command}": ${answer}`)
}
