// A service as Kiln's instances are: readiness, slow answers, streams, and a stop that finishes what it has.
const { createHash } = require('node:crypto')
const { createServer } = require('node:http')

const env = process.env
let ready = env.NEVER_READY === undefined

const server = createServer((request, response) => {
  if (request.url === '/events') return sendEvents(response)
  if (request.method === 'PUT') return takeUpload(request, response)
  if (request.method === 'GET') {
    response.statusCode = request.url === (env.READY_PATH ?? '/ready') && ready ? 200 : 503
    response.end('ready\n')
    return
  }
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const { id, delayMs = 0 } = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    setTimeout(() => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ id, version: env.VERSION }))
    }, delayMs)
  })
})

/** Server-sent events without end, each with the version that sends it. */
function sendEvents(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const timer = setInterval(() => response.write(`data: ${env.VERSION}\n\n`), 50)
  response.on('close', () => clearInterval(timer))
}

function takeUpload(request, response) {
  const hash = createHash('sha256')
  request.on('data', (chunk) => hash.update(chunk))
  request.on('end', () => response.end(`${env.VERSION} ${hash.digest('hex')}`))
}

/** A WebSocket that answers each short text with the version and the text. */
server.on('upgrade', (request, socket) => {
  const accepted = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64')
  const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade']
  socket.write(`${[...head, `Sec-WebSocket-Accept: ${accepted}`].join('\r\n')}\r\n\r\n`)
  socket.on('error', () => socket.destroy())
  socket.on('data', (frame) => {
    const text = frame.subarray(6, 6 + (frame[1] & 0x7f))
    text.forEach((byte, at) => (text[at] = byte ^ frame[2 + (at % 4)]))
    // A close frame is answered with the same code.
    const close = (frame[0] & 0x0f) === 8
    const answer = close ? text : Buffer.from(`${env.VERSION} ${text}`)
    socket.write(Buffer.concat([Buffer.from([frame[0], answer.length]), answer]))
    if (close) socket.end()
  })
})

if (env.END_AT_ONCE !== undefined) {
  process.stdout.write('the database is not there\n')
  process.exit(7)
}

server.listen(Number(env.PORT), '0.0.0.0', () => {
  process.stdout.write(`version ${env.VERSION} listens\n`)
})
process.on('SIGTERM', () => {
  ready = false
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
