import { expect, test } from 'vitest'
import { parseUris } from '../../src/template/apt-root.ts'
import { parseAptSources, renderSourcesFor } from '../../src/template/apt-sources.ts'

const lines = `# deb http://off.example bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian bookworm main contrib # here
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/security bookworm-security main
deb http://else.example/apt bookworm-else main
deb http://else.example/apt bookworm stable
`

const stanzas = `Types: deb deb-src
# a comment
URIs: http://mirror.example/debian http://second.example/debian
Suites: bookworm bookworm-updates trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example
Suites: bookworm
Components: main
`

test('lines: the suite, its updates and its security fixes, with how they are trusted', () => {
  const sources = parseAptSources([{ path: 'sources.list', text: lines }])
  expect(renderSourcesFor('bookworm', sources)).toBe(`Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/a.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
`)
})

test('deb822: a key in the file is kept, what is disabled is not used', () => {
  const sources = parseAptSources([{ path: 'debian.sources', text: stanzas }])
  expect(renderSourcesFor('bookworm', sources)).toBe(`Types: deb
URIs: http://mirror.example/debian http://second.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
`)
})

test('a machine without such a source says what to add', () => {
  expect(() => renderSourcesFor('bookworm', [])).toThrow(
    expect.objectContaining({ code: 'prerequisite_missing' }),
  )
})

test('apt’s list becomes names, versions, sizes and digests, and no address', () => {
  const sum = 'a'.repeat(64)
  const listing = `Reading package lists...
'http://mirror.example/pool/libc%3abin_2.deb' libcap2_1%3a2.66-4+b1_amd64.deb 26912 SHA256:${sum}
'http://mirror.example/pool/apt.deb' apt_2.6.2_amd64.deb 1371476 SHA256:${sum}
`
  expect(parseUris(listing)).toEqual([
    { name: 'apt', version: '2.6.2', size: 1_371_476, sha256: `sha256:${sum}` },
    { name: 'libcap2', version: '1:2.66-4+b1', size: 26_912, sha256: `sha256:${sum}` },
  ])
})

test.each(['MD5Sum:0123', ''])('an entry with %j instead of SHA-256 is refused', (sum) => {
  expect(() => parseUris(`'http://mirror.example/a.deb' a_1_all.deb 1 ${sum}`)).toThrow(
    expect.objectContaining({ code: 'input_unavailable' }),
  )
})
