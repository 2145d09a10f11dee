import { execa } from 'execa'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { client, type Client } from '../../src/api/client.ts'
import { hasEnded, type Operation } from '../../src/domain/operation.ts'

export const root = join(import.meta.dirname, '../..')

/** A Kiln of a folder of its own, driven through the command line and the API like anybody's. */
export type Kiln = {
  home: string
  /** Runs a verb; standard error is shown, standard output is what comes back. */
  cli: (...args: string[]) => Promise<string>
  api: () => Promise<Client>
  address: () => Promise<string>
}

export function kilnAt(home: string, env: Readonly<Record<string, string>>): Kiln {
  // What it is shown it remembers in a place of its own, not in the person's.
  const given = { KILN_HOME: home, XDG_STATE_HOME: join(home, 'state'), ...env }
  const address = async (): Promise<string> => {
    const told = JSON.parse(await readFile(join(home, 'api.json'), 'utf8')) as { address: string }
    return told.address
  }
  return {
    home,
    async cli(...args) {
      const { stdout } = await execa(join(root, 'bin/kiln'), args, {
        env: given,
        stderr: 'inherit',
        stdin: 'ignore',
      })
      return stdout
    },
    address,
    async api() {
      const token = (await readFile(join(home, 'token'), 'utf8')).trim()
      return client({ address: await address(), token })
    },
  }
}

/** Follows an operation to its end; anything but an end that is good throws with what failed. */
export async function followed(api: Client, operation: Operation): Promise<Operation> {
  let last = operation
  // A stream may end early: whoever follows comes back, as `kiln follow` does.
  for (let tries = 0; !hasEnded(last) && tries < 5; tries += 1) {
    for await (const event of await api.events({ params: { id: operation.id } })) last = event.data
  }
  if (last.state === 'succeeded' || last.state === 'unchanged') return last
  const failure = last.failure ?? { message: last.state, lines: [], fix: null }
  throw new Error(
    [`${last.kind} of ${last.subject}: ${last.state}: ${failure.message}`, ...failure.lines].join(
      '\n  ',
    ),
  )
}

/** Looks again and again until `look` gives something; `what` is said when it never did. */
export async function eventually<T>(
  what: string,
  seconds: number,
  look: () => Promise<T | undefined>,
): Promise<T> {
  const begun = Date.now()
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    const waited = Date.now() - begun
    if (waited > seconds * 1000) throw new Error(`not within ${seconds} s: ${what}`)
    // Most looks ask Kiln, which has its own work to do: late by a tenth is soon enough.
    const pause = Math.min(1000, Math.max(200, waited / 10))
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}
