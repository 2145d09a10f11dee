/** A process of a container as the engine lists it; ids are those of the machine. */
export type Process = { pid: number; parent: number; program: string }

/** `docker top` with these arguments gives what is judged here. */
export const topArguments = '-eo pid,ppid,args'

/**
 * Throws nothing: a line that cannot be read is a process whose parent is nobody. Of a command only the
 * program is kept: what follows it may be a secret.
 */
export function readTop(rows: readonly (readonly string[])[]): Process[] {
  return rows.map(([pid = '', parent = '', command = '']) => ({
    pid: Number(pid) || 0,
    parent: Number(parent) || 0,
    program: firstWord(command),
  }))
}

/**
 * Processes that the container's first one did not start, nor any that it started: somebody put them
 * there from outside. Pure. What an instance's own process left behind is the first one's child.
 */
export function strangers(processes: readonly Process[], first: number): Process[] {
  const parents = new Map(processes.map(({ pid, parent }) => [pid, parent]))
  const isOwn = (pid: number): boolean => {
    const seen = new Set<number>()
    for (
      let at: number | undefined = pid;
      at !== undefined && !seen.has(at);
      at = parents.get(at)
    ) {
      if (at === first) return true
      seen.add(at)
    }
    return false
  }
  return processes.filter(({ pid }) => !isOwn(pid))
}

/** Of an exec's event, `exec_start: /bin/sh -c …`, the program alone. */
export function execProgram(action: string): string {
  return firstWord(action.slice(action.indexOf(':') + 1).trim())
}

function firstWord(command: string): string {
  return (command.split(/\s/)[0] ?? '').slice(0, 100)
}
