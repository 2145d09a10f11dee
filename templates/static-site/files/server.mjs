// server.mjs FOLDER: serves what prepare.mjs listed in FOLDER/site.json and nothing else: a path that
// is not in the list names no file, whatever it holds. One JSON line on standard output for each answer.
import { createReadStream, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream'

const [, , folder] = process.argv
const port = Number(process.env.PORT ?? 8080)
const { files: listed, modified } = JSON.parse(readFileSync(join(folder, 'site.json'), 'utf8'))
const files = new Map(Object.entries(listed))
const lastModified = new Date(modified * 1000).toUTCString()

let stopping = false

const server = createServer((request, response) => {
  request.resume()
  logged(request, response)
  const [raw = '/', query] = (request.url ?? '/').split(/\?(.*)/s, 2)
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return say(request, response, { status: 405, text: 'only GET and HEAD\n', headers: { allow: 'GET, HEAD' } })
  if (raw === '/ready')
    return say(request, response, stopping ? { status: 503, text: 'stopping\n' } : { status: 200, text: 'ready\n' })
  const path = decoded(raw)
  if (path === undefined) return say(request, response, { status: 400, text: 'not a path\n' })
  const name = path.endsWith('/') ? `${path}index.html` : path
  const file = files.get(name)
  if (file !== undefined) return send(request, response, { name, file, status: 200 })
  if (files.has(`${path}/index.html`)) {
    const location = `${encodeURI(path)}/${query === undefined ? '' : `?${query}`}`
    return say(request, response, { status: 308, text: `see ${location}\n`, headers: { location } })
  }
  const missing = files.get('/404.html')
  if (missing !== undefined)
    return send(request, response, { name: '/404.html', file: missing, status: 404 })
  say(request, response, { status: 404, text: 'no such page\n' })
})
// Longer than any load balancer keeps an idle connection: it closes first, so no request meets a closed one.
server.keepAliveTimeout = 120_000
server.headersTimeout = 125_000

function decoded(path) {
  try {
    return decodeURIComponent(path)
  } catch {
    return undefined
  }
}

function common() {
  return { 'x-content-type-options': 'nosniff', ...(stopping ? { connection: 'close' } : {}) }
}

function say(request, response, { status, text, headers = {} }) {
  response.writeHead(status, {
    ...common(),
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...headers,
  })
  response.end(request.method === 'HEAD' ? undefined : text)
}

/** A file as it is, packed, in part, or only the word that the client's copy is still good. */
function send(request, response, { name, file, status }) {
  const range = status === 200 ? rangeOf(request, file) : undefined
  const packed = file.gzip !== null && range === undefined && takesGzip(request)
  const etag = `"${file.etag}${packed ? '-gzip' : ''}"`
  const headers = {
    ...common(),
    etag,
    'last-modified': lastModified,
    // Kept, but asked for again: a promotion is seen at once.
    'cache-control': 'no-cache',
    ...(file.gzip === null ? {} : { vary: 'accept-encoding' }),
  }
  if (status === 200 && isFresh(request, etag)) {
    response.writeHead(304, headers)
    return response.end()
  }
  if (range === 'none') {
    response.writeHead(416, { ...headers, 'content-range': `bytes */${file.size}`, 'content-length': 0 })
    return response.end()
  }
  const size = range === undefined ? (packed ? file.gzip : file.size) : range.end - range.start + 1
  response.writeHead(range === undefined ? status : 206, {
    ...headers,
    'content-type': file.type,
    'content-length': size,
    'accept-ranges': 'bytes',
    ...(packed ? { 'content-encoding': 'gzip' } : {}),
    ...(range === undefined ? {} : { 'content-range': `bytes ${range.start}-${range.end}/${file.size}` }),
  })
  if (request.method === 'HEAD' || size === 0) return response.end()
  const content = createReadStream(join(folder, packed ? 'gzip' : 'plain', name), range)
  pipeline(content, response, () => undefined)
}

/** RFC 9110, section 13.2.2: the tag decides where there is one, else the time. */
function isFresh({ headers }, etag) {
  const tags = headers['if-none-match']
  if (tags !== undefined)
    return tags.trim() === '*' || tags.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
  const since = Date.parse(headers['if-modified-since'] ?? '')
  return Number.isFinite(since) && modified * 1000 <= since
}

function takesGzip({ headers }) {
  return String(headers['accept-encoding'] ?? '')
    .split(',')
    .some((one) => /^\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*$).*)?$/i.test(one))
}

/** One range of bytes; undefined when the whole is wanted, 'none' when there is nothing in it. */
function rangeOf({ headers, method }, file) {
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? '') ?? []
  if (method !== 'GET' || from === undefined || (from === '' && to === '')) return undefined
  const condition = headers['if-range']
  if (condition !== undefined && condition !== `"${file.etag}"`) return undefined
  const start = from === '' ? Math.max(0, file.size - Number(to)) : Number(from)
  const end = from === '' || to === '' ? file.size - 1 : Math.min(Number(to), file.size - 1)
  return start <= end ? { start, end } : 'none'
}

/** Readiness is asked for every few hundred milliseconds: its yes is not worth a line. */
function logged(request, response) {
  const began = performance.now()
  response.once('close', () => {
    // An answer that had begun before promised to keep its connection: nobody shall wait for that to end.
    if (stopping) setImmediate(() => server.closeIdleConnections())
    if (request.url === '/ready' && response.statusCode === 200) return
    const line = {
      time: new Date().toISOString(),
      method: request.method,
      path: (request.url ?? '').slice(0, 2000),
      status: response.statusCode,
      ms: Math.round(performance.now() - began),
      ...(response.writableFinished ? {} : { aborted: true }),
    }
    process.stdout.write(`${JSON.stringify(line)}\n`)
  })
}

/** Takes no new connections, finishes what is in flight, and ends. */
function stop() {
  stopping = true
  server.close(() => process.exit(0))
}

process.on('SIGTERM', stop)
process.on('SIGINT', stop)
server.listen(port, '0.0.0.0', () => {
  process.stdout.write(`static-site listens on ${port}: ${files.size} files\n`)
})
