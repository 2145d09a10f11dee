import { refuse, type Here } from './dockerfile-fault.ts'
import type { Instruction } from './dockerfile-plan.ts'
import { parseArgv, requirePairs, requirePath, requireVariables } from './dockerfile-values.ts'

/** Stages that an instruction may copy from, by name; every stage's index is a name too. */
export type StageNames = ReadonlyMap<string, number>

type Parse = (here: Here, stages: StageNames) => Instruction

/** The allow-list. A keyword that is not in it is refused, whatever it may mean to an engine. */
const allowed: Readonly<Record<string, Parse>> = {
  ARG: (here) => ({ keyword: 'ARG', pairs: requireVariables(here) }),
  CMD: (here) => ({ keyword: 'CMD', argv: requireArgv(here) }),
  COPY: parseCopy,
  ENTRYPOINT: (here) => ({ keyword: 'ENTRYPOINT', argv: requireArgv(here) }),
  ENV: (here) => ({ keyword: 'ENV', pairs: requireVariables(here) }),
  EXPOSE: parseExpose,
  LABEL: (here) => ({ keyword: 'LABEL', pairs: requirePairs(here) }),
  RUN: parseRun,
  STOPSIGNAL: parseStopSignal,
  USER: parseUser,
  WORKDIR: (here) => ({ keyword: 'WORKDIR', path: requirePath(here, here.rest) }),
}

/** What to write instead of what people try. */
const instead: Readonly<Record<string, string>> = {
  ADD: 'use COPY: ADD fetches and unpacks, and what it gets is in no lock',
  HEALTHCHECK: 'remove it: readiness is in kiln.yaml',
  MAINTAINER: 'use LABEL',
  ONBUILD: 'write the instructions into the Dockerfile that needs them',
  SHELL: 'use the exec form: RUN ["program", "argument"]',
  VOLUME: 'remove it: instances are read-only but for /tmp',
}

export function parseInstruction(here: Here, stages: StageNames): Instruction {
  const parse = Object.hasOwn(allowed, here.keyword) ? allowed[here.keyword] : undefined
  if (parse === undefined) {
    const fix = Object.hasOwn(instead, here.keyword) ? instead[here.keyword] : undefined
    throw refuse(
      here,
      `${here.keyword} is not allowed`,
      fix ?? `use one of FROM, ${Object.keys(allowed).join(', ')}`,
    )
  }
  return parse(here, stages)
}

function refuseHeredoc(here: Here, texts: readonly string[]): void {
  if (!texts.some((text) => text.includes('<<'))) return
  throw refuse(
    here,
    'here-documents are not allowed: engines disagree on what they are',
    'put the text into a file below files/ and COPY it, or join commands by &&',
  )
}

function parseRun(here: Here): Instruction {
  if (here.rest.startsWith('--')) {
    throw refuse(
      here,
      `${here.rest.split(/[ =]/)[0]} is not allowed: RUN takes no options`,
      'remove it: a build has no network, no mounts and no privileges',
    )
  }
  if (here.rest === '') throw refuse(here, 'names no command', 'write RUN and a command')
  const argv = parseArgv(here.rest)
  // Also what only JSON's escapes hide: the rendered line no longer has them.
  refuseHeredoc(here, [here.rest, ...(argv ?? [])])
  if (argv === undefined) return { keyword: 'RUN', form: 'shell', command: here.rest }
  if (argv.length === 0) throw refuse(here, 'names no command', 'write RUN and a command')
  return { keyword: 'RUN', form: 'exec', argv }
}

const contextFolders = ['app', 'deps', 'files']

function parseCopy(here: Here, stages: StageNames): Instruction {
  const { flags, rest } = takeFlags(here)
  refuseHeredoc(here, [rest])
  const words = parseArgv(rest) ?? rest.split(/\s+/)
  const destination = words.at(-1)
  const sources = words.slice(0, -1)
  if (destination === undefined || sources.length === 0) {
    throw refuse(here, 'needs a source and a destination', 'write COPY app/ /app/')
  }
  const from = flags.get('from')
  const index = from === undefined ? null : stages.get(from)
  if (index === undefined) {
    throw refuse(
      here,
      `there is no earlier stage ${JSON.stringify(from)}`,
      'copy from a stage that FROM … AS named above',
    )
  }
  for (const source of sources) {
    if (index === null) requireContextPath(here, source)
    else requirePath(here, source)
  }
  return {
    keyword: 'COPY',
    from: index,
    owner: requireOwner(here, flags.get('chown')),
    sources,
    destination: requirePath(here, destination),
  }
}

function takeFlags(here: Here): { flags: Map<string, string>; rest: string } {
  const flags = new Map<string, string>()
  let rest = here.rest
  while (rest.startsWith('--')) {
    const word = rest.split(/\s/)[0] ?? ''
    const [, name = '', value = ''] = /^--([a-z]+)=(.+)$/.exec(word) ?? []
    if ((name !== 'from' && name !== 'chown') || flags.has(name)) {
      throw refuse(
        here,
        `the option ${word} is not allowed`,
        'COPY takes --from=<stage> and --chown=<uid>:<gid>, each once; modes come from git',
      )
    }
    flags.set(name, value)
    rest = rest.slice(word.length).trimStart()
  }
  return { flags, rest }
}

function requireContextPath(here: Here, source: string): void {
  const parts = source.replace(/\/$/, '').split('/')
  const plain = parts.every((part) => /^[A-Za-z0-9_@+*.-]+$/.test(part) && !/^\.{1,2}$/.test(part))
  if (plain && contextFolders.includes(parts[0] ?? '')) return
  throw refuse(
    here,
    `${JSON.stringify(source)} is not in the build's context`,
    'copy from app/ (the source), deps/ (its dependencies) or files/ (of the template)',
  )
}

function requireOwner(here: Here, text: string | undefined): string | null {
  if (text === undefined) return null
  const { gid, uid } = requireIds(here, text)
  return `${uid}:${gid}`
}

function requireIds(here: Here, text: string): { uid: number; gid: number } {
  const [, uid = '', gid = ''] = /^(0|[1-9]\d{0,4}):(0|[1-9]\d{0,4})$/.exec(text) ?? []
  if (uid === '' || gid === '') {
    throw refuse(
      here,
      `${JSON.stringify(text)} is not a numeric user and group`,
      'write both as numbers below 100000, such as 901:901',
    )
  }
  return { uid: Number(uid), gid: Number(gid) }
}

function parseUser(here: Here): Instruction {
  return { keyword: 'USER', ...requireIds(here, here.rest) }
}

function requireArgv(here: Here): readonly string[] {
  const argv = parseArgv(here.rest)
  if (argv === undefined || argv.length === 0) {
    throw refuse(
      here,
      'is not in exec form: a shell would stand between the service and its signals',
      `write ${here.keyword} ["program", "argument"]`,
    )
  }
  return argv
}

function parseExpose(here: Here): Instruction {
  const ports = here.rest.split(/\s+/)
  if (!ports.every((port) => /^[1-9]\d{0,4}(\/(tcp|udp))?$/.test(port))) {
    throw refuse(here, `${JSON.stringify(here.rest)} is not a port`, 'write EXPOSE 8080')
  }
  return { keyword: 'EXPOSE', ports }
}

function parseStopSignal(here: Here): Instruction {
  if (!/^SIG[A-Z0-9]{2,10}$/.test(here.rest)) {
    throw refuse(here, `${JSON.stringify(here.rest)} is not a signal`, 'write STOPSIGNAL SIGTERM')
  }
  return { keyword: 'STOPSIGNAL', signal: here.rest }
}
