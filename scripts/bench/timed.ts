/** How long the work takes, in milliseconds. */
export async function timedMs(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

export async function timedS(work: () => Promise<unknown>): Promise<number> {
  return (await timedMs(work)) / 1000
}

/** What is said while it runs: standard output is for the document alone. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
