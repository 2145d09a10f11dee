/** Many at a time, or one alone: who wants to be alone waits for those inside, and new ones wait for it. */
export type Gate = {
  shared: <T>(run: () => Promise<T>) => Promise<T>
  alone: <T>(run: () => Promise<T>) => Promise<T>
}

export function createGate(): Gate {
  const inside = new Set<Promise<unknown>>()
  let closed: Promise<unknown> = Promise.resolve()

  return {
    async shared(run) {
      // Read again after each wait: another may have closed it meanwhile.
      for (let seen: unknown; seen !== closed;) {
        seen = closed
        await closed
      }
      const mine = run()
      const settled = mine.catch(() => undefined)
      inside.add(settled)
      try {
        return await mine
      } finally {
        inside.delete(settled)
      }
    },
    alone(run) {
      const mine = closed.then(async () => {
        await Promise.all(inside)
        return run()
      })
      closed = mine.catch(() => undefined)
      return mine
    },
  }
}
