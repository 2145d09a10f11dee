import { expect, test } from 'vitest'
import { parseDigest } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import { parseDockerfile } from '../../src/template/dockerfile.ts'
import { renderDockerfile } from '../../src/template/render-dockerfile.ts'

const held = parseDigest(`sha256:${'a'.repeat(64)}`)
const end = 'USER 901:901\nCMD ["node", "."]\n'
const options = { place: 'Dockerfile', images: [held] }

function faultOf(text: string): KilnError {
  try {
    parseDockerfile(text, options)
  } catch (error) {
    if (error instanceof KilnError) return error
    throw error
  }
  throw new Error('it was accepted')
}

test('a Dockerfile is rendered from what was understood, with the build’s arguments before the first RUN', () => {
  const plan = parseDockerfile(
    `# a comment
from ${held} AS tools
run echo one \\
  # inside

  && echo "two  three"
FROM base
WORKDIR /app
COPY --from=tools --chown=901:901 /opt/tool /opt/
COPY ["deps/", "/app/"]
ENV A=1 B="two words" C='three'
RUN ["node", "--check", "/app/index.js"]
RUN [ -e /app ]
EXPOSE 8080 53/udp
LABEL org.example.name=hello
STOPSIGNAL SIGTERM
USER 901:901
ENTRYPOINT ["node"]
CMD ["."]`,
    options,
  )
  const text = renderDockerfile(plan, {
    from: (input) => `127.0.0.1:5000/kiln/${input.slice(0, 8)}`,
    args: { TZ: 'UTC', SOURCE_DATE_EPOCH: '1700000000' },
  })
  expect(text).toBe(`FROM 127.0.0.1:5000/kiln/sha256:a AS stage0
ARG SOURCE_DATE_EPOCH="1700000000" TZ="UTC"
RUN echo one   && echo "two  three"
FROM 127.0.0.1:5000/kiln/base AS stage1
WORKDIR /app
COPY --from=0 --chown=901:901 ["/opt/tool","/opt/"]
COPY ["deps/","/app/"]
ENV A="1" B="two words" C="three"
ARG SOURCE_DATE_EPOCH="1700000000" TZ="UTC"
RUN ["node","--check","/app/index.js"]
RUN [ -e /app ]
EXPOSE 8080 53/udp
LABEL org.example.name="hello"
STOPSIGNAL SIGTERM
USER 901:901
ENTRYPOINT ["node"]
CMD ["."]
`)
})

test('the place is the line and the instruction, and the fix says what to write', () => {
  const fault = faultOf(`FROM base\n\nADD https://example.org/x /x\n${end}`)
  expect(fault).toMatchObject({
    code: 'invalid_dockerfile',
    place: 'Dockerfile:3 ADD',
    fix: 'use COPY: ADD fetches and unpacks, and what it gets is in no lock',
  })
})

const other = `sha256:${'b'.repeat(64)}`

test.each([
  'debian:12',
  'node',
  'scratch',
  'base:latest',
  'BASE',
  '$IMAGE',
  '${IMAGE}',
  '--platform=linux/amd64 base',
  '127.0.0.1:5000/kiln/base',
  other,
  `base@${held}`,
  held.toUpperCase(),
  held.slice(0, -1),
  `sha512:${'a'.repeat(128)}`,
  '0',
  '',
  'base AS',
  'base AS base',
  'base AS Scratch',
  'base AS 0',
  'base AS a b',
])('FROM %s is refused', (image) => {
  const fault = faultOf(`FROM ${image}\n${end}`)
  expect(fault.place).toMatch(/^Dockerfile:1( FROM)?$/)
})

test.each([
  ['a syntax directive', `# syntax=docker/dockerfile:1\nFROM base\n${end}`, 'Dockerfile:1'],
  ['one with spaces', `  #  SYNTAX = evil\nFROM base\n${end}`, 'Dockerfile:1'],
  ['an escape directive', `# escape=\`\nFROM base\n${end}`, 'Dockerfile:1'],
  ['an unknown directive', `# frontend=evil\nFROM base\n${end}`, 'Dockerfile:1'],
  ['a byte order mark', `\uFEFFFROM base\n${end}`, 'Dockerfile:1'],
  ['CRLF', `FROM base\r\n${end}`, 'Dockerfile:1'],
  ['a bare carriage return', `FROM base\n# x\rADD a b\n${end}`, 'Dockerfile:2'],
  ['a NUL', `FROM base\nRUN a\0b\n${end}`, 'Dockerfile:2'],
  ['a line separator', `FROM base\nRUN a\u2028ADD b\n${end}`, 'Dockerfile:2'],
  ['text that runs from right to left', `FROM base\nRUN a\u202Eb\n${end}`, 'Dockerfile:2'],
  ['a backslash at the end', `FROM base\n${end}RUN a \\`, 'Dockerfile:4'],
  ['a file without an instruction', '# nothing\n', 'Dockerfile:1'],
  ['ARG before FROM', `ARG A=1\nFROM base\n${end}`, 'Dockerfile:1 ARG'],
  ['too much', `FROM base\n${'# x\n'.repeat(10_000)}${end}`, 'Dockerfile:1'],
  ['too many', `FROM base\n${'RUN x\n'.repeat(300)}${end}`, 'Dockerfile:303 CMD'],
])('%s is refused', (_what, text, place) => {
  expect(faultOf(text).place).toBe(place)
})

test.each([
  'ADD app/ /app/',
  'ADD https://example.org/a.tar /a',
  'add --chown=1:1 a b',
  'ONBUILD RUN x',
  'HEALTHCHECK CMD x',
  'HEALTHCHECK NONE',
  'VOLUME /data',
  'SHELL ["/bin/bash", "-c"]',
  'MAINTAINER me',
  'CROSS_BUILD_COPY a b',
  'INCLUDE other',
  'RUNX a',
  'RUN',
  'RUN []',
  'RUN --mount=type=secret,id=x cat /run/secrets/x',
  'RUN --network=host curl x',
  'RUN --security=insecure x',
  'RUN \\\n  --mount=type=bind,target=/x x',
  'RUN <<EOF\nADD a b\nEOF',
  'RUN cat <<-"EOF" > /x\nx\nEOF',
  'RUN ["cat", "\\u003c<EOF"]',
  'COPY <<EOF /x\nx\nEOF',
  'COPY --from=other /x /x',
  'COPY --from=0 /x /x',
  'COPY --from=docker.io/library/node /x /x',
  'COPY --from=base /x /x',
  'COPY --link app/ /app/',
  'COPY --chmod=755 app/ /app/',
  'COPY --chown=kiln:kiln app/ /app/',
  'COPY --chown=1:1 --chown=2:2 app/ /app/',
  'COPY . /app/',
  'COPY app/../../etc /app/',
  'COPY /etc/passwd /app/',
  'COPY Dockerfile /app/',
  'COPY $X /app/',
  'COPY app/ $X',
  'COPY app/ app/',
  'COPY app/ /app/../x',
  'COPY app/ /proc/self/',
  'COPY app/',
  'COPY ["app/"]',
  'WORKDIR app',
  'WORKDIR /app/../x',
  'WORKDIR /proc/self/fd/7',
  'WORKDIR //proc/self/fd/7',
  'WORKDIR /./proc/self',
  'WORKDIR /proc',
  'WORKDIR /sys/fs/cgroup',
  'WORKDIR $HOME',
  'WORKDIR "/app"',
  'WORKDIR',
  'USER root',
  'USER kiln',
  'USER 901',
  'USER 0901:0901',
  'USER 4294967296:1',
  'USER $UID:1',
  'ENV A',
  'ENV A B',
  'ENV A=$B',
  'ENV A=a\\ b',
  'ENV A="b',
  "ENV A='b\"'",
  'ENV NPM_TOKEN=x',
  'ENV db_password=x',
  'ENV A=1 ApiKey=x',
  'ENV SOURCE_DATE_EPOCH=0',
  'ARG AWS_SECRET_ACCESS_KEY=x',
  'ARG VERSION',
  'ARG A=${B}',
  'LABEL auth-token=x',
  'EXPOSE $PORT',
  'EXPOSE 8000-9000',
  'EXPOSE 0',
  'STOPSIGNAL 9',
  'STOPSIGNAL $S',
  'CMD node .',
  'CMD []',
  'ENTRYPOINT node',
  'ENTRYPOINT ["node", 1]',
])('%s is refused', (instruction) => {
  const fault = faultOf(`FROM base\n${instruction}\n${end}`)
  expect(fault.code).toBe('invalid_dockerfile')
  expect(fault.place).toMatch(/^Dockerfile:[23]( |$)/)
  expect(fault.fix).toBeDefined()
})

test.each([
  ['no user', 'FROM base\nCMD ["node"]\n', 'Dockerfile:2 USER'],
  ['root at the end', 'FROM base\nUSER 901:901\nUSER 0:0\nCMD ["node"]\n', 'Dockerfile:4 USER'],
  ['root’s group', 'FROM base\nUSER 901:0\nCMD ["node"]\n', 'Dockerfile:3 USER'],
  [
    'a user only in an earlier stage',
    `FROM base AS a\n${end}FROM a\nCMD ["node"]\n`,
    'Dockerfile:5 USER',
  ],
  ['no command', 'FROM base\nUSER 901:901\n', 'Dockerfile:2 CMD'],
])('an image with %s is refused', (_what, text, place) => {
  expect(faultOf(text).place).toBe(place)
})

test('a value that would end its instruction is never rendered', () => {
  const plan = parseDockerfile(`FROM base\nRUN x\n${end}`, options)
  const render = (value: string) => () =>
    renderDockerfile(plan, { from: (input) => input, args: { A: value } })
  expect(render('1"\nRUN evil')).toThrow(TypeError)
  expect(render('$(x)')).toThrow(TypeError)
})
