// A service as Kiln's instances are: readiness, slow answers, and a stop that finishes what it has.
const { createServer } = require('node:http')

const env = process.env
let ready = env.NEVER_READY === undefined

const server = createServer((request, response) => {
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
