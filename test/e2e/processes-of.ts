import { readdirSync, readFileSync } from 'node:fs'

/** Pids of all processes that carry this home in their environment: a Kiln's own, the supervisor too. */
export function processesOf(home: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isSafeInteger(pid) && pid !== process.pid)
    .filter((pid) => ofProcess(pid, 'environ').split('\0').includes(`KILN_HOME=${home}`))
}

/** Empty once the process has ended. */
export function ofProcess(pid: number, what: 'cmdline' | 'environ'): string {
  try {
    return readFileSync(`/proc/${pid}/${what}`, 'utf8')
  } catch {
    return ''
  }
}
