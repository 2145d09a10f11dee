import { describe, expect, test } from 'vitest'
import { readRequest, type Asked, type AuthzRequest } from '../../../src/runtime/guard/request.ts'

const id = 'c0ffee'.repeat(10)
const name = 'kiln.hello.prod.3.1'

function ask(method: string, uri: string, more: Partial<AuthzRequest> = {}): Asked {
  return readRequest({ method, uri, contentType: 'application/json', body: null, ...more })
}

function create(body: unknown, uri = '/v1.41/containers/create'): Asked {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return ask('POST', uri, { body: Buffer.from(text) })
}

describe('what nobody needs leave for', () => {
  test.each([
    ['GET', '/_ping'],
    ['GET', '/v1.41/info'],
    ['GET', '/v1.41/events?filters=%7B%7D'],
    ['GET', '/v1.41/containers/json?all=1'],
    ['POST', '/v1.41/containers/prune'],
    ['GET', `/v1.41/containers/${name}/json`],
    ['GET', `/v1.41/containers/${name}/logs?follow=1`],
    ['GET', `/v1.41/containers/${name}/top?ps_args=-ef`],
    ['GET', `/containers/${name}/stats`],
    ['GET', `/v1.41/containers/${name}/changes`],
    ['POST', `/v1.41/containers/${name}/wait?condition=next-exit`],
    ['POST', `/v1.41/containers/${name}/resize?h=1&w=1`],
    ['POST', `/v1.41/containers/${name}/pause`],
    ['POST', `/v1.41/containers/${name}/unpause`],
    ['GET', `/v1.41/exec/${id}/json`],
    ['GET', '/v1.41/images/json'],
    ['POST', '/v1.41/images/create?fromImage=alpine&tag=3'],
    ['POST', '/v1.41/build?t=x'],
    ['POST', '/v1.41/networks/create'],
    // Ending is never in anybody's way.
    ['POST', `/v1.41/containers/${name}/stop?t=10`],
    ['POST', `/v1.41/containers/${name}/kill?signal=KILL`],
    ['POST', `/containers/${name}/stop`],
    // A request has no fragment: to the engine this is a stop of another name.
    ['POST', `/v1.41/containers/${name}/exec#/stop`],
    ['DELETE', `/v1.41/containers/${name}?force=1&v=1`],
    ['DELETE', `/v1.41/containers/${name}/checkpoints/one`],
    ['DELETE', '/v1.41/containers/%ff'],
  ])('%s %s', (method, uri) => {
    expect(ask(method, uri)).toEqual({ kind: 'free' })
  })
})

describe('what reaches into a container, and into which', () => {
  test.each<[string, string, string, readonly string[]]>([
    ['POST', `/v1.41/containers/${name}/exec`, 'exec', [name]],
    ['POST', `/containers/${name}/exec`, 'exec', [name]],
    ['POST', `/v1.41/containers/${id.slice(0, 4)}/exec`, 'exec', [id.slice(0, 4)]],
    ['POST', `/v1.41/containers/${name}/attach?stream=1`, 'attach', [name]],
    ['GET', `/v1.41/containers/${name}/attach/ws`, 'attach', [name]],
    ['GET', `/v1.41/containers/${name}/archive?path=/etc`, 'cp', [name]],
    ['HEAD', `/v1.41/containers/${name}/archive?path=/etc`, 'cp', [name]],
    ['PUT', `/v1.41/containers/${name}/archive?path=/etc`, 'cp', [name]],
    ['POST', `/v1.23/containers/${name}/copy`, 'cp', [name]],
    ['GET', `/v1.41/containers/${name}/export`, 'export', [name]],
    ['POST', `/v1.41/containers/${name}/rename?name=other`, 'rename', [name]],
    ['POST', `/v1.41/containers/${name}/update`, 'update', [name]],
    ['POST', `/v1.41/containers/${name}/checkpoints`, 'checkpoints', [name]],
    // A verb of a later engine, and one by another method.
    ['POST', `/v1.99/containers/${name}/enter`, 'enter', [name]],
    ['POST', `/v1.41/containers/${name}/json`, 'json', [name]],
    ['PATCH', `/v1.41/containers/${name}`, name, [name]],
    ['post', `/v1.41/containers/${name}/stop`, 'stop', [name]],
    // By the ways in which a path can be written.
    ['POST', `/v1.41/containers/%6biln.hello.prod.3.1/exec`, 'exec', [name]],
    ['POST', `/v1.41/containers/${name}/%65xec`, 'exec', [name]],
    ['POST', `/v1.41/containers/%2F${name}/exec`, 'exec', [name]],
    ['POST', `//v1.41//containers//${name}//exec//`, 'exec', [name]],
    ['POST', `/v1.41/containers/other/../${name}/exec/.`, 'exec', [name]],
    ['POST', `http://localhost/v1.41/containers/${name}/exec`, 'exec', [name]],
    ['POST', `tcp://[::1]:2375/containers/${name}/exec?x=/containers/a/stop`, 'exec', [name]],
    ['POST', `/v1.41/containers/${name}/exec?/stop`, 'exec', [name]],
    // Links have slashes in their names.
    ['POST', '/v1.41/containers/web/db/exec', 'exec', ['web', 'web/db']],
    ['POST', `/v1.41/commit?container=${name}&repo=x`, 'commit', [name]],
    ['POST', `/v1.41/commit?repo=x&container=%2F${name}`, 'commit', [name]],
    ['POST', `/v1.41/commit?con%74ainer=${name}`, 'commit', [name]],
    ['POST', `/v1.41/commit?container=a&container=${name}`, 'commit', ['a', name]],
    ['POST', `/v1.41/commit?a=b;container=${name}`, 'commit', [name]],
  ])('%s %s', (...[method, uri, verb, references]) => {
    expect(ask(method, uri)).toEqual({ kind: 'into', verb, references })
  })
})

test.each([
  ['POST', `/v1.41/exec/${id}/start`],
  ['POST', `/v1.41/exec/${id}/resize?h=1&w=1`],
  ['POST', `/exec/${id}/start`],
  ['POST', `/v1.41/exec/${id}`],
  ['PUT', `/v1.41/exec/${id}/json`],
])('%s %s goes on with an exec', (method, uri) => {
  expect(ask(method, uri)).toEqual({ kind: 'exec', id })
})

const start = (uri: string) => ask('POST', uri)

test('what starts is a question of its own; an old API may bring settings with it', () => {
  expect(start(`/v1.41/containers/${name}/start`)).toEqual({
    kind: 'start',
    verb: 'start',
    reference: name,
  })
  expect(start(`/containers/${name}/restart?t=1`)).toEqual({
    kind: 'start',
    verb: 'restart',
    reference: name,
  })
  expect(start('/v1.24/containers/web/db/start')).toMatchObject({ reference: 'web/db' })
  for (const version of ['v1.23', 'v1.023', 'v1.18.9', 'v0.99', 'v1']) {
    expect(start(`/${version}/containers/${name}/start`)).toMatchObject({ kind: 'unreadable' })
  }
})

const joins = (body: object) => {
  const asked = create({ Image: 'a', ...body })
  return asked.kind === 'create' ? asked.body.joins : asked
}

describe('a create', () => {
  test('is read with every name that an engine may find in it', () => {
    const body = { Image: 'alpine', Labels: { a: 'b', n: 7 }, Cmd: ['true'] }
    const at = (query: string) => create(body, `/v1.41/containers/create${query}`)
    expect(at('?name=web')).toMatchObject({
      kind: 'create',
      names: ['web'],
      body: { image: 'alpine', labels: { a: 'b' }, joins: [] },
    })
    expect(at('')).toMatchObject({ names: [] })
    expect(at('?name=%2Fweb')).toMatchObject({ names: ['web'] })
    expect(at('?name=a&name=b')).toMatchObject({ names: ['a', 'b'] })
    expect(at(`?x=1;name=${name}`)).toMatchObject({ names: [name] })
    expect(at(`?name=web;name=${name}`)).toMatchObject({ names: expect.arrayContaining([name]) })
    expect(create(body, '//v1.41/containers//create/')).toMatchObject({ kind: 'create' })
    expect(create(body, 'http://x/containers/%63reate')).toMatchObject({ kind: 'create' })
  })

  test('fields are found in every case that Go takes for theirs', () => {
    expect(create({ image: 'a', labelS: { x: 'y' } })).toMatchObject({
      body: { image: 'a', labels: { x: 'y' } },
    })
    expect(create({ Image: 'a', 'Label\u017F': { x: 'y' } })).toMatchObject({
      body: { labels: { x: 'y' } },
    })
  })

  test('names what it shares with, at both places and in every form', () => {
    expect(joins({ HostConfig: { PidMode: `container:${name}` } })).toEqual([name])
    expect(joins({ HostConfig: { networkmode: `container:${name}` } })).toEqual([name])
    expect(joins({ hostconfig: { IpcMode: `container:${name}` } })).toEqual([name])
    expect(joins({ PidMode: `container:${name}` })).toEqual([name])
    expect(joins({ HostConfig: { VolumesFrom: [`${name}:ro`, 'b'] } })).toEqual([name, 'b'])
    expect(joins({ HostConfig: { PidMode: 'host', NetworkMode: 'container' } })).toEqual([])
    expect(joins({ HostConfig: null, Labels: null })).toEqual([])
  })

  test.each<[string, string | null, Partial<AuthzRequest>?]>([
    ['was not shown', null],
    ['is empty', ''],
    ['is cut off', '{"Image":"alp'],
    ['is a list', '[]'],
    ['is null', 'null'],
    ['goes on after its end', '{"Image":"a"}{"Image":"b"}'],
    ['begins with a byte order mark', '\uFEFF{"Image":"a"}'],
    ['names the image twice', '{"Image":"a","Image":"b"}'],
    ['names it in two cases', '{"Image":"a","image":"b"}'],
    ['names labels twice', '{"Labels":{"a":"1"},"Labels":{}}'],
    ['names a label twice', '{"Labels":{"a":"1","\\u0061":"2"}}'],
    ['has the host part twice', '{"HostConfig":{},"hostConfig":{"PidMode":"container:x"}}'],
    ['has a mode twice', '{"HostConfig":{"PidMode":"","pidMode":"container:x"}}'],
    ['is a form', '{"Image":"a"}', { contentType: 'application/x-www-form-urlencoded' }],
  ])('whose body %s cannot be read', (_what, text, more = {}) => {
    const body = text === null ? null : Buffer.from(text)
    expect(ask('POST', '/v1.41/containers/create', { body, ...more })).toMatchObject({
      kind: 'unreadable',
      what: 'create',
    })
  })

  test('strings that look like fields are none, and a large body is read', () => {
    const Cmd = ['{"Image":"b","Image":"c"}', 'x'.repeat(900_000), '\\"']
    expect(create({ Image: 'a', Cmd })).toMatchObject({ kind: 'create', body: { image: 'a' } })
  })
})

test('a path that cannot be decoded is no path, and a form of a commit is not read', () => {
  expect(ask('POST', '/v1.41/containers/%zz/exec')).toMatchObject({ kind: 'unreadable' })
  const contentType = 'application/x-www-form-urlencoded'
  expect(ask('POST', '/v1.41/commit', { contentType })).toMatchObject({ kind: 'unreadable' })
})
