import { expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { connectAddress } from '../../src/source/address.ts'
import { isPublicAddress } from '../../src/source/host.ts'
import { isBranchName, parseRepository, parseRevision } from '../../src/source/repository.ts'

const rules = { allowedPaths: ['/srv/git'], allowedHosts: ['git.corp.internal', '10.1.2.3'] }

test.each([
  ['https://example.org/a/b.git', 'https'],
  ['https://example.org/a', 'https'],
  ['https://example.org:8443/a/b', 'https'],
  ['https://8.8.8.8/a', 'https'],
  ['https://git.corp.internal/a', 'https'],
  ['https://10.1.2.3/a', 'https'],
  ['ssh://git@example.org/a/b.git', 'ssh'],
  ['ssh://example.org:2222/a/b.git', 'ssh'],
  ['git@example.org:a/b.git', 'ssh'],
  ['git@git.corp.internal:/a/b.git', 'ssh'],
  ['/srv/git', 'file'],
  ['/srv/git/hello', 'file'],
  ['file:///srv/git/hello.git', 'file'],
])('%s is read as %s', (text, kind) => {
  expect(parseRepository(text, rules).kind).toBe(kind)
})

test.each([
  ['', 'empty'],
  ['ext::sh -c "id"', 'a space'],
  ['ext::sh%20-c%20id', 'quoting'],
  ['ext::id', 'remote helper'],
  ['EXT::id', 'remote helper'],
  ['fd::17', 'remote helper'],
  ['file::/etc', 'remote helper'],
  ['--upload-pack=touch /tmp/x', 'a space'],
  ['--upload-pack=id', 'a dash'],
  ['-oProxyCommand=id', 'a dash'],
  ['http://example.org/a', 'http is not'],
  ['HTTPS://example.org/a', 'HTTPS is not'],
  ['git://example.org/a', 'git is not'],
  ['ftp://example.org/a', 'ftp is not'],
  ['https://user@example.org/a', 'a user or a password'],
  ['https://user:pass@example.org/a', 'a user or a password'],
  ['https://example.org@127.0.0.1/a', 'a user or a password'],
  ['https://example.org/a@b', 'a user or a password'],
  ['https://127.0.0.1/a', 'not an address of the public internet'],
  ['https://127.1/a', 'not in its plain form'],
  ['https://0x7f.1/a', 'not in its plain form'],
  ['https://2130706433/a', 'not in its plain form'],
  ['https://0177.0.0.1/a', 'not in its plain form'],
  ['https://10.0.0.5/a', 'not an address of the public internet'],
  ['https://192.168.1.1/a', 'not an address of the public internet'],
  ['https://169.254.169.254/latest', 'not an address of the public internet'],
  ['https://[::1]/a', 'not an address of the public internet'],
  ['https://[::ffff:7f00:1]/a', 'not an address of the public internet'],
  ['https://[::ffff:127.0.0.1]/a', 'not in its plain form'],
  ['https://[fd00::1]/a', 'not an address of the public internet'],
  ['https://localhost/a', 'not a public host'],
  ['https://metadata.google.internal/a', 'not a public host'],
  ['https://printer.local/a', 'not a public host'],
  ['https://git/a', 'not a public host'],
  ['https://example.org./a', 'ends with a dot'],
  ['https://EXAMPLE.org/a', 'not in its plain form'],
  ['https://example.org:443/a', 'not in its plain form'],
  ['https://example.org', 'not in its plain form'],
  ['https://example.org/', 'the path is missing'],
  ['https://example.org/a/../b', 'not in its plain form'],
  ['https://example.org/a//b', 'the path is missing, or not plain'],
  ['https://example.org/-a', 'the path is missing, or not plain'],
  ['https://example.org/a?x=1', 'quoting'],
  ['https://example.org/a#x', 'quoting'],
  ['https://example.org/a%2e%2e', 'quoting'],
  ['https://example.org\\@evil.org/a', 'quoting'],
  ['https://exämple.org/a', 'not ASCII'],
  ['https://example.org/a\nb', 'a control character'],
  ['https://example.org/a\0', 'a control character'],
  ['https://exa_mple.org/a', 'not a host name'],
  ['ssh://-oProxyCommand=id/a', 'not a host name'],
  ['ssh://git@-oProxyCommand=id/a', 'not a host name'],
  ['ssh://git:pw@example.org/a', 'not a plain name'],
  ['ssh://example.org:0/a', 'not a port'],
  ['ssh://example.org:99999/a', 'not a port'],
  ['ssh://127.0.0.1/a', 'not an address of the public internet'],
  ['ssh://2130706433/a', 'a number'],
  ['ssh://0x7f.0x1/a', 'a number'],
  ['ssh://127.1/a', 'a number'],
  ['ssh://example.org./a', 'ends with a dot'],
  ['ssh://example.org', 'not ssh://user@host/path'],
  ['git@127.0.0.1:a', 'not an address of the public internet'],
  ['git@127.1:a', 'a number'],
  ['git@-oProxyCommand:a', 'not a host name'],
  ['-git@example.org:a', 'a dash'],
  ['git@example.org:../a', 'not plain'],
  ['git@example.org:-a', 'not plain'],
  ['example.org:a', 'neither https'],
  ['hello', 'neither https'],
  ['./hello', 'neither https'],
  ['../srv/git', 'neither https'],
  ['/etc', 'names no such folder'],
  ['/srv/gitx', 'names no such folder'],
  ['/srv/git/../../etc', '//, ., ..'],
  ['/srv/git//x', '//, ., ..'],
  ['/srv/git/', '//, ., ..'],
  ['file://example.org/srv/git', 'names no such folder'],
  ['file:///etc', 'names no such folder'],
  [`https://example.org/${'a'.repeat(3000)}`, 'too long'],
])('%j is refused: %s', (text, reason) => {
  let refusal: unknown
  try {
    parseRepository(text, rules)
  } catch (error) {
    refusal = error
  }
  expect(refusal).toBeInstanceOf(KilnError)
  expect((refusal as KilnError).code).toBe('invalid_repository')
  expect((refusal as KilnError).message).toContain(reason)
})

test('a refusal does not repeat a password', () => {
  for (const text of ['https://u:hunter2@example.org/a', 'ssh://u:hunter2@example.org/a']) {
    expect(() => parseRepository(text, rules)).toThrow(
      expect.objectContaining({ place: expect.not.stringContaining('hunter2') as string }),
    )
  }
})

test('which addresses are public', () => {
  const inner =
    '0.0.0.0 10.1.1.1 100.64.0.1 127.9.9.9 169.254.169.254 172.31.0.1 192.168.0.1 198.18.0.1 224.0.0.1 255.255.255.255 :: ::1 ::ffff:8.8.8.8 64:ff9b::7f00:1 2002:7f00:1:: 2001:: fe80::1 fc00::1 ff02::1 nonsense'
  expect(inner.split(' ').filter(isPublicAddress)).toEqual([])
  expect(['8.8.8.8', '2606:4700::1111'].filter(isPublicAddress)).toHaveLength(2)
})

test('a public name that leads to a private address is refused, and what is connected to is what was checked', async () => {
  const repository = parseRepository('https://example.org/a', rules)
  const address = (found: string[], proxied = false) =>
    connectAddress(repository, { resolve: async () => found, proxied })
  expect(await address(['93.184.215.14', '93.184.215.15'])).toBe('93.184.215.14')
  await expect(address(['93.184.215.14', '10.0.0.1'])).rejects.toMatchObject({
    code: 'invalid_repository',
  })
  await expect(address([])).rejects.toMatchObject({ code: 'repository_unavailable' })
  expect(await address(['10.0.0.1'], true)).toBeNull()
  const named = parseRepository('https://git.corp.internal/a', rules)
  expect(
    await connectAddress(named, { resolve: async () => ['10.0.0.1'], proxied: false }),
  ).toBeNull()
})

test('revisions are full commits or plain branch names', () => {
  const commit = 'a'.repeat(40)
  expect(parseRevision(commit)).toEqual({ kind: 'commit', commit })
  expect(parseRevision('feature/x-1')).toEqual({ kind: 'branch', branch: 'feature/x-1' })
  const odd = [
    '',
    'HEAD',
    '-x',
    '--upload-pack=x',
    'a..b',
    'a b',
    'a~1',
    'a^',
    'a:b',
    '/a',
    'a/',
    'a//b',
    'a.lock',
    'a/.b',
    'x.',
    'a\n',
    '@{-1}',
  ]
  expect(odd.filter(isBranchName)).toEqual([])
  expect(() => parseRevision('a..b')).toThrow('not a commit or a branch')
})
