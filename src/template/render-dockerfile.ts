import type { Instruction, Plan, Stage } from './dockerfile-plan.ts'

export type RenderOptions = {
  /** The engine's name for an input of the lock: `base`, or the digest of an image. */
  from: (input: string) => string
  /** What every RUN sees in its environment and the image does not keep, such as SOURCE_DATE_EPOCH. */
  args: Readonly<Record<string, string>>
}

/**
 * The Dockerfile that the engine gets: one instruction a line, lists as JSON, stages by number. The
 * ARG block stands before the first RUN of each stage and not right after FROM: its values change
 * with every commit, and what is copied before stays in the engine's cache.
 */
export function renderDockerfile(plan: Plan, options: RenderOptions): string {
  const lines = plan.stages.flatMap((stage, index) => [
    `FROM ${startOf(stage, options)} AS ${stageName(index)}`,
    ...withArgs(stage.instructions, options.args).map(renderInstruction),
  ])
  return `${lines.join('\n')}\n`
}

function startOf({ start }: Stage, { from }: RenderOptions): string {
  switch (start.kind) {
    case 'input':
      return from(start.name)
    case 'image':
      return from(start.digest)
    case 'stage':
      return stageName(start.index)
  }
}

function stageName(index: number): string {
  return `stage${index}`
}

function withArgs(
  instructions: readonly Instruction[],
  args: RenderOptions['args'],
): Instruction[] {
  const first = instructions.findIndex(({ keyword }) => keyword === 'RUN')
  const pairs = Object.entries(args).toSorted(([a], [b]) => (a < b ? -1 : 1))
  if (first === -1 || pairs.length === 0) return [...instructions]
  // One instruction: the engine makes a step of each, and takes time for it.
  const block: Instruction = { keyword: 'ARG', pairs }
  return instructions.toSpliced(first, 0, block)
}

function renderInstruction(instruction: Instruction): string {
  const { keyword } = instruction
  switch (keyword) {
    case 'RUN':
      return `RUN ${instruction.form === 'shell' ? instruction.command : JSON.stringify(instruction.argv)}`
    case 'COPY': {
      const from = instruction.from === null ? '' : `--from=${instruction.from} `
      const owner = instruction.owner === null ? '' : `--chown=${instruction.owner} `
      const paths = JSON.stringify([...instruction.sources, instruction.destination])
      return `COPY ${from}${owner}${paths}`
    }
    case 'ARG':
    case 'ENV':
    case 'LABEL':
      return `${keyword} ${instruction.pairs.map(renderPair).join(' ')}`
    case 'WORKDIR':
      return `WORKDIR ${instruction.path}`
    case 'USER':
      return `USER ${instruction.uid}:${instruction.gid}`
    case 'EXPOSE':
      return `EXPOSE ${instruction.ports.join(' ')}`
    case 'CMD':
    case 'ENTRYPOINT':
      return `${keyword} ${JSON.stringify(instruction.argv)}`
    case 'STOPSIGNAL':
      return `STOPSIGNAL ${instruction.signal}`
  }
}

function renderPair([name, value]: readonly [string, string]): string {
  if (/["'\\$\n\r]/.test(value)) {
    throw new TypeError(`the value of ${name} cannot stand in a Dockerfile`)
  }
  return `${name}="${value}"`
}
