const kept = 20

/** The lines that a step said, whole and without terminal codes, and the last of them. */
export type StepLog = {
  write(text: string): void
  /** Says the last line, if it did not end. */
  end(): void
  last(): readonly string[]
  /** The instruction that ran last, as the engine prints it: `RUN npm test`. */
  instruction(): string | undefined
}

const longestLine = 4000

/** What the engine says of its own housekeeping: in the log, but no line of the step. */
const housekeeping = /^(Removing intermediate container| ---> (Running in )?)[0-9a-f ]*$/

/** `clean` takes out of a line what no log may hold. */
export function createStepLog(
  onLine: (line: string) => void,
  clean: (line: string) => string = (line) => line,
): StepLog {
  let rest = ''
  let lines: string[] = []
  let instruction: string | undefined
  function say(raw: string): void {
    const line = clean(plainText(raw)).slice(0, longestLine)
    instruction = /^Step \d+\/\d+ : (.*)$/.exec(line)?.[1] ?? instruction
    if (!housekeeping.test(line)) lines = [...lines.slice(1 - kept), line]
    onLine(line)
  }
  return {
    write(text) {
      const parts = `${rest}${text}`.split('\n')
      rest = (parts.pop() ?? '').slice(-4 * longestLine)
      for (const part of parts) say(part)
    },
    end() {
      if (rest !== '') say(rest)
      rest = ''
    },
    last: () => lines.filter((line) => line.trim() !== ''),
    instruction: () => instruction,
  }
}

/** What a progress bar overwrote, colours and cursor movements are not for a file or a web page. */
function plainText(raw: string): string {
  const shown = raw.replace(/\r+$/, '').split('\r').at(-1) ?? ''
  // oxlint-disable-next-line no-control-regex
  return shown.replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, '').replace(/[^\P{Cc}\t]/gu, '')
}

const networkFailure =
  /ENOTFOUND|EAI_AGAIN|ENETUNREACH|ENETDOWN|name resolution|failure resolving|could not resolve|unable to resolve|network is unreachable|name or service not known|bad address/i

/** Whether the lines show that something asked for a network. */
export function wantedNetwork(lines: readonly string[]): boolean {
  return lines.some((line) => networkFailure.test(line))
}

/** `Dockerfile:5 RUN`: where the template's Dockerfile has the instruction that the engine printed. */
export function placeInDockerfile(dockerfile: string, instruction: string | undefined): string {
  if (instruction === undefined) return 'Dockerfile'
  const [keyword = ''] = instruction.split(/\s/, 1)
  const line = dockerfile.split('\n').findIndex((text) => {
    const start = text.replace(/\\\s*$/, '').trim()
    return start.startsWith(keyword) && instruction.startsWith(start)
  })
  return line === -1 ? `Dockerfile ${instruction}` : `Dockerfile:${line + 1} ${keyword}`
}
