import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { parseDockerfile } from '../../src/template/dockerfile.ts'
import type { Plan } from '../../src/template/dockerfile-plan.ts'
import { renderDockerfile } from '../../src/template/render-dockerfile.ts'

const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/)
/** No word in it looks like a secret. */
const variable = fc.stringMatching(/^[A-Z][0-9]{1,4}$/)
const path = fc.array(word, { minLength: 1, maxLength: 3 }).map((parts) => `/x${parts.join('/')}`)
const argument = fc
  .string({ maxLength: 9, unit: 'grapheme-ascii' })
  .filter((text) => !text.includes('<<'))
const ids = fc.tuple(fc.nat(60_000), fc.nat(60_000)).map(([uid, gid]) => `${uid}:${gid}`)

const instruction = fc.oneof(
  fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => `RUN ${words.join(' ')}`),
  fc.array(argument, { minLength: 1, maxLength: 4 }).map((argv) => `RUN ${JSON.stringify(argv)}`),
  fc
    .array(word, { minLength: 2, maxLength: 4 })
    .map((words) => `RUN ${words.join(' \\\n  # why\n\n  && ')}`),
  fc
    .tuple(fc.constantFrom('app/', 'deps/', 'files/a'), path)
    .map(([from, to]) => `COPY ${from} ${to}`),
  fc.tuple(ids, path).map(([owner, to]) => `COPY --chown=${owner} app/ ${to}`),
  fc.tuple(variable, word).map(([name, value]) => `ENV ${name}="${value} ${value}"`),
  fc.tuple(variable, word).map(([name, value]) => `ARG ${name}=${value}`),
  path.map((to) => `WORKDIR ${to}`),
  ids.map((user) => `USER ${user}`),
  fc.integer({ min: 1, max: 65_535 }).map((port) => `EXPOSE ${port}`),
)

/** A well-formed file as lines: random instructions in one to three stages, with a good end. */
const good = fc
  .array(fc.array(instruction, { maxLength: 5 }), { minLength: 1, maxLength: 3 })
  .map((stages) => [
    ...stages.flatMap((lines, index) => [`FROM base AS s${index}`, ...lines]),
    'USER 901:901',
    'CMD ["node", "."]',
  ])

const space = fc.stringMatching(/^[ \t]{0,3}$/)
const anyCase = (text: string) =>
  fc.array(fc.boolean(), { minLength: text.length, maxLength: text.length }).map((upper) =>
    Array.from(text)
      .map((char, at) => (upper[at] === true ? char.toUpperCase() : char.toLowerCase()))
      .join(''),
  )

/** Constructs that may not be in a template, in every spelling that an engine might take. */
const forbidden = fc.oneof(
  fc.tuple(
    anyCase('add').chain((keyword) => space.map((gap) => `${gap}${keyword} `)),
    fc.constantFrom(
      'app/ /app/',
      'https://example.org/x /x',
      '--chown=1:1 app /x',
      '\\\n  git@example.org:x /x',
    ),
  ),
  fc.tuple(anyCase('onbuild'), fc.constantFrom(' RUN x', ' ADD a b')),
  fc.tuple(anyCase('volume'), fc.constantFrom(' /data', ' ["/data"]')),
  fc.tuple(anyCase('healthcheck'), fc.constantFrom(' NONE', ' CMD x')),
  fc.tuple(anyCase('shell'), fc.constant(' ["/bin/sh"]')),
  fc.tuple(
    anyCase('run'),
    fc.constantFrom(
      ' --mount=type=cache,target=/x x',
      ' --network=host x',
      ' --security=insecure x',
      ' \\\n --mount=type=ssh x',
      ' cat <<EOF\nEOF',
      ' <<E',
    ),
  ),
  fc.tuple(
    anyCase('copy'),
    fc.constantFrom(
      ' --from=node:24 /x /x',
      ' --from=base /x /x',
      ' --link app/ /x',
      ' ../x /x',
      ' /etc/passwd /x',
      ' app/ /proc/1/',
      ' app/../x /x',
      ' . /x',
      ' <<EOF /x\nEOF',
    ),
  ),
  fc.tuple(
    anyCase('from'),
    fc.constantFrom(
      ' node:24',
      ' debian',
      ' $BASE',
      ' ${BASE:-base}',
      ' --platform=x base',
      ` sha256:${'0'.repeat(64)}`,
      ' 0',
      ' scratch',
      ' base AS base',
    ),
  ),
  fc.tuple(
    anyCase('workdir'),
    fc.constantFrom(' /proc/self/fd/8', ' /x/../proc', ' //proc', ' relative', ' $X', ' /sys'),
  ),
  fc.tuple(anyCase('user'), fc.constantFrom(' root', ' kiln', ' 0', ' $U')),
  fc.tuple(
    fc.constantFrom('ENV', 'ARG', 'LABEL'),
    anyCase('api_token').map((name) => ` ${name}=x`),
  ),
  fc.tuple(fc.constantFrom('ENV', 'ARG'), fc.constantFrom(' A', ' A=$B', ' SOURCE_DATE_EPOCH=1')),
  fc.tuple(fc.constantFrom('# syntax=', '#escape=', ' # Syntax = ', '#\tCHECK='), word),
  fc.tuple(
    fc.constantFrom('RUN a', '# a', 'ENV A=1'),
    fc.constantFrom('\r', '\u0085', '\u00a0', '\u2028', '\u202e', '\ufeff', '\0', '\v', '\f', 'é'),
  ),
)

function accepts(text: string): boolean {
  try {
    parseDockerfile(text, { place: 'Dockerfile' })
    return true
  } catch (error) {
    if (error instanceof KilnError && error.code === 'invalid_dockerfile') return false
    throw error
  }
}

function render(plan: Plan): string {
  return renderDockerfile(plan, { from: () => 'base', args: {} })
}

test('no file with a forbidden construct is accepted, wherever it stands and however it is spelled', () => {
  fc.assert(
    fc.property(good, forbidden, fc.nat(), (lines, [keyword, rest], at) => {
      // Behind the first FROM: what stands before it is refused for that alone.
      const position = 1 + (at % lines.length)
      const text = lines.toSpliced(position, 0, keyword + rest).join('\n')
      expect(accepts(text)).toBe(false)
    }),
    { numRuns: 3000 },
  )
})

test('what is accepted means the same when it is rendered and read again', () => {
  fc.assert(
    fc.property(good, (lines) => {
      const plan = parseDockerfile(lines.join('\n'), { place: 'Dockerfile' })
      expect(parseDockerfile(render(plan), { place: 'Dockerfile' })).toEqual(plan)
    }),
    { numRuns: 1000 },
  )
})

/** Every line that an accepted file may render to; a refusal's place quotes the file and is not one of them. */
const known =
  /^(FROM (base|stage)|(RUN|COPY|ENV|ARG|LABEL|WORKDIR|USER|EXPOSE|CMD|ENTRYPOINT|STOPSIGNAL) )/

type Reading = { kind: 'rendered'; text: string } | { kind: 'refused'; place: string }

function read(text: string): Reading {
  try {
    return { kind: 'rendered', text: render(parseDockerfile(text, { place: 'Dockerfile' })) }
  } catch (error) {
    if (!(error instanceof KilnError && error.code === 'invalid_dockerfile')) throw error
    return { kind: 'refused', place: error.place ?? '' }
  }
}

/** What is wrong with the answer to a text; nothing for a placed refusal or a file of known instructions. */
function faultsOf(text: string): string[] {
  const reading = read(text)
  if (reading.kind === 'refused') {
    const line = /^Dockerfile:(?<line>[1-9]\d*)(?: \S+)?$/.exec(reading.place)?.groups?.['line']
    const placed = line !== undefined && Number(line) <= text.split('\n').length
    return placed ? [] : [reading.place]
  }
  return reading.text
    .trimEnd()
    .split('\n')
    .filter((line) => !known.test(line) || /^RUN\s+--|<<|^FROM (?!base |stage)/.test(line))
}

test('any text is accepted or refused with a place, and an accepted one renders to known instructions', () => {
  const soup = fc
    .array(
      fc.oneof(
        instruction,
        fc.string({ maxLength: 30 }),
        forbidden.map(([a, b]) => a + b),
      ),
      { maxLength: 8 },
    )
    .map((lines) => `FROM base\n${lines.join('\n')}\nUSER 901:901\nCMD ["x"]\n`)
  fc.assert(
    fc.property(soup, (text) => {
      expect(faultsOf(text)).toEqual([])
    }),
    {
      numRuns: 2000,
      // A keyword that looks like a here-document stands in the refusal's place, not in a rendered line.
      examples: [['FROM base\n<<\nUSER 901:901\nCMD ["x"]\n']],
    },
  )
})
