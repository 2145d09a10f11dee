import { isDigest, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { refuse, type Here } from './dockerfile-fault.ts'
import { parseInstruction, type StageNames } from './dockerfile-instructions.ts'
import { splitDockerfile } from './dockerfile-lines.ts'
import type { Instruction, Plan, Stage, StageStart } from './dockerfile-plan.ts'

export type DockerfileOptions = {
  /** The file's name in errors: `Dockerfile`. */
  place: string
  /** Images beside `base` that FROM may name, by digest: those that the lock holds. */
  images?: readonly Digest[]
}

const maxInstructions = 200

/**
 * Parses a Dockerfile against an allow-list. What comes back is all that the build sees: it is
 * rendered from the plan, never from the text. Throws `invalid_dockerfile` with the place, such as
 * `Dockerfile:3 FROM`, and what to write instead.
 */
export function parseDockerfile(text: string, options: DockerfileOptions): Plan {
  const lines = splitDockerfile(text, options.place)
  const stages: (Stage & { instructions: Instruction[] })[] = []
  const names = new Map<string, number>()
  let last: Here | undefined
  for (const line of lines) {
    const here = { ...line, file: options.place }
    last = here
    if (line.keyword === 'FROM') {
      stages.push({
        start: parseFrom(here, { names, options, index: stages.length }),
        instructions: [],
      })
      continue
    }
    const stage = stages.at(-1)
    if (stage === undefined) {
      throw refuse(here, 'stands before the first FROM', 'begin with FROM base')
    }
    stage.instructions.push(parseInstruction(here, earlier(names, stages.length - 1)))
  }
  const final = stages.at(-1)
  if (last === undefined || final === undefined) {
    throw new KilnError('invalid_dockerfile', 'there is no instruction', {
      place: `${options.place}:1`,
      fix: 'begin with FROM base',
    })
  }
  if (lines.length > maxInstructions) {
    throw refuse(last, `more than ${maxInstructions} instructions`, 'join commands by &&')
  }
  requireRunnable(last, final)
  return { stages }
}

/** A stage cannot copy from itself. */
function earlier(names: StageNames, current: number): StageNames {
  return new Map([...names].filter(([, index]) => index < current))
}

type Stages = { names: Map<string, number>; options: DockerfileOptions; index: number }

function parseFrom(here: Here, { index, names, options }: Stages): StageStart {
  const match = /^(?<image>\S+)(?:\s+[Aa][Ss]\s+(?<name>\S+))?$/.exec(here.rest)
  const image = match?.groups?.['image'] ?? ''
  const start = startOf(image, { names, options, index })
  if (start === undefined) {
    throw refuse(
      here,
      `${JSON.stringify(here.rest)} is not an image that the template's lock holds`,
      'write FROM base: tags, variables, options and registries are not allowed',
    )
  }
  const name = match?.groups?.['name']
  if (name !== undefined) {
    if (
      !/^[a-z][a-z0-9_-]{0,40}$/.test(name) ||
      names.has(name) ||
      name === 'base' ||
      name === 'scratch'
    ) {
      throw refuse(
        here,
        `the stage name ${JSON.stringify(name)} is not allowed`,
        'take another name in lower case',
      )
    }
    names.set(name, index)
  }
  names.set(String(index), index)
  return start
}

function startOf(image: string, { names, options }: Stages): StageStart | undefined {
  if (image === 'base') return { kind: 'input', name: 'base' }
  if (isDigest(image)) {
    return options.images?.includes(image) === true ? { kind: 'image', digest: image } : undefined
  }
  // FROM takes names only; an index there would be an image called by a number.
  const index = /^\d+$/.test(image) ? undefined : names.get(image)
  return index === undefined ? undefined : { kind: 'stage', index }
}

/** The image runs as a numeric user that is not root, and says what it runs. */
function requireRunnable(last: Here, { instructions }: Stage): void {
  const user = instructions.findLast((instruction) => instruction.keyword === 'USER')
  if (user === undefined || user.uid === 0 || user.gid === 0) {
    throw refuse(
      { ...last, keyword: 'USER', rest: user === undefined ? '' : `${user.uid}:${user.gid}` },
      user === undefined ? 'the last stage names no user' : 'the last stage runs as root',
      'end with USER 901:901',
    )
  }
  const runs = instructions.some(({ keyword }) => keyword === 'CMD' || keyword === 'ENTRYPOINT')
  if (!runs) {
    throw refuse(
      { ...last, keyword: 'CMD', rest: '' },
      'the last stage names no command',
      'end with CMD ["node", "."]',
    )
  }
}
