// Prints the version of the Docker Engine that answers at DOCKER_HOST (default: the local socket).
// Exits 1 when nothing answers, 2 when the socket may not be opened. Needs no docker client.
// Plain JavaScript: it runs on the machine's Node, before the locked one is there.
import { request } from 'node:http'
import { env, exit, stderr, stdout } from 'node:process'

const address = env.DOCKER_HOST || 'unix:///var/run/docker.sock'

function target(text) {
  const url = new URL(text)
  if (url.protocol === 'unix:') return { socketPath: url.pathname }
  return { host: url.hostname, port: url.port || '2375' }
}

function fail(error) {
  stderr.write(`${address}: ${error.message}\n`)
  exit(error.code === 'EACCES' ? 2 : 1)
}

const asked = request({ ...target(address), path: '/version', timeout: 5000 }, (answer) => {
  let body = ''
  answer.setEncoding('utf8')
  answer.on('data', (chunk) => (body += chunk))
  answer.on('end', () => {
    try {
      stdout.write(`${JSON.parse(body).Version}\n`)
    } catch (error) {
      fail(error)
    }
  })
})
asked.on('timeout', () => asked.destroy(new Error('no answer within 5 s')))
asked.on('error', fail)
asked.end()
