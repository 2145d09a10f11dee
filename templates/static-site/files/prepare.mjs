// prepare.mjs SOURCE TARGET: decides what a site serves. TARGET gets plain/ with the files, gzip/ with
// those that are worth packing, and site.json, the list that the server answers from.
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { gzipSync } from 'node:zlib'

const [, , source, target] = process.argv
const mostFiles = 20_000
/** Smaller files fit into one packet as they are. */
const leastPacked = 1024

const types = {
  '.avif': 'image/avif',
  '.css': 'text/css; charset=utf-8',
  '.csv': 'text/csv; charset=utf-8',
  '.gif': 'image/gif',
  '.htm': 'text/html; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/vnd.microsoft.icon',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.md': 'text/markdown; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.mp3': 'audio/mpeg',
  '.mp4': 'video/mp4',
  '.ogg': 'audio/ogg',
  '.otf': 'font/otf',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.ttf': 'font/ttf',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.wav': 'audio/wav',
  '.webm': 'video/webm',
  '.webmanifest': 'application/manifest+json',
  '.webp': 'image/webp',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
  '.xml': 'application/xml',
}
const packable = /^(text\/|application\/(json|xml|wasm|manifest\+json)|image\/svg)/

function fail(message) {
  process.stderr.write(`static-site: ${message}\n`)
  process.exit(1)
}

/** Dot files are the author's own, but for the one folder that the web agreed on (RFC 8615). */
function isOwn(path) {
  const [first, ...rest] = path.split('/')
  const names = first === '.well-known' ? rest : [first, ...rest]
  return names.some((name) => name.startsWith('.'))
}

function* walk(folder, below = '') {
  const names = readdirSync(join(folder, below)).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  for (const name of names) {
    const path = below === '' ? name : `${below}/${name}`
    if (isOwn(path)) continue
    const found = lstatSync(join(folder, path))
    if (found.isDirectory()) yield* walk(folder, path)
    else if (found.isFile()) yield path
    else fail(`${path} is neither a file nor a folder: put the file itself there`)
  }
}

const publicFolder = join(source, 'public')
const hasPublic = lstatSync(publicFolder, { throwIfNoEntry: false })?.isDirectory() === true
const root = hasPublic ? publicFolder : source
const files = {}
for (const path of walk(root)) {
  if (!hasPublic && path === 'kiln.yaml') continue
  if (path === 'ready' || path.startsWith('ready/'))
    fail('/ready is where the server says that it is ready: name the file otherwise')
  if (Object.keys(files).length === mostFiles) fail(`there are more than ${mostFiles} files`)
  const bytes = readFileSync(join(root, path))
  const type = types[extname(path).toLowerCase()] ?? 'application/octet-stream'
  const packed = packable.test(type) && bytes.length >= leastPacked ? gzipSync(bytes, { level: 9 }) : undefined
  const gzip = packed !== undefined && packed.length < bytes.length ? packed : undefined
  put('plain', path, bytes)
  if (gzip !== undefined) put('gzip', path, gzip)
  files[`/${path}`] = {
    type,
    size: bytes.length,
    etag: createHash('sha256').update(bytes).digest('base64url').slice(0, 22),
    gzip: gzip === undefined ? null : gzip.length,
  }
}
if (Object.keys(files).length === 0) fail('there is no file to serve')
const modified = Number(process.env.SOURCE_DATE_EPOCH ?? 0)
writeFileSync(join(target, 'site.json'), `${JSON.stringify({ version: 1, modified, files })}\n`)
process.stdout.write(`static-site: ${Object.keys(files).length} files\n`)

function put(kind, path, bytes) {
  const to = join(target, kind, path)
  mkdirSync(dirname(to), { recursive: true })
  writeFileSync(to, bytes)
}
