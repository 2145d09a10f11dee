import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Kiln } from '../../scripts/demo/kiln.ts'
import { routes } from '../../src/api/contract.ts'

/** Bytes of one place, one after the other. */
export type Contents = AsyncIterable<Buffer>

/** Every GET route, with values that are there and with values that are not; also what it answers to a stranger. */
export async function* everyRoute(
  kiln: Kiln,
  known: Readonly<Record<string, readonly string[]>>,
): Contents {
  const address = await kiln.address()
  const token = (await readFile(join(kiln.home, 'token'), 'utf8')).trim()
  for (const route of Object.values(routes)) {
    if (route.method !== 'GET' || route.answer.kind === 'events') continue
    for (const path of filled(route.path, known)) {
      for (const authorization of [`Bearer ${token}`, 'Bearer nobody']) {
        const answer = await fetch(`${address}${path}`, { headers: { authorization } })
        const headers = JSON.stringify([...answer.headers])
        yield Buffer.concat([Buffer.from(headers), Buffer.from(await answer.arrayBuffer())])
      }
    }
  }
}

/** The path with each known value of its parameters. */
function filled(path: string, known: Readonly<Record<string, readonly string[]>>): string[] {
  const parameter = /:([a-z]+)|\*/i.exec(path)
  if (parameter === null) return [path]
  const [whole, name = '*'] = parameter
  return (known[name] ?? ['x']).flatMap((value) =>
    filled(path.replace(whole, encodeURIComponent(value).replaceAll('%2F', '/')), known),
  )
}
