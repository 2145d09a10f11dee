import { KilnError } from '../domain/error.ts'

const longestLine = 16 * 1024 * 1024

/**
 * The engine's streams of JSON values, one a line. Characters that straddle two chunks stay whole.
 * Throws `internal` for a line that is no JSON or longer than 16 MiB, and whatever the body throws.
 */
export async function* jsonLines(body: AsyncIterable<unknown>): AsyncGenerator {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    rest += decoder.decode(chunk as Uint8Array, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.trim() !== '') yield parse(line)
    if (rest.length > longestLine)
      throw new KilnError('internal', 'a line of the engine is endless')
  }
  rest += decoder.decode()
  if (rest.trim() !== '') yield parse(rest)
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch (cause) {
    throw new KilnError('internal', `the engine sent a broken line: ${line.slice(0, 100)}`, {
      cause,
    })
  }
}
