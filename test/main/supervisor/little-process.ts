import { spawn } from 'node:child_process'
import { appendFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'

/** What a little process does; given as JSON in its first argument. */
export type Orders = {
  name: string
  /** Listens here once it is ready. */
  socket?: string
  port?: number
  readyAfterMs?: number
  says?: readonly string[]
  /** Ends by itself, with this exit code. */
  dies?: number
  ignoresTerm?: boolean
  /** Starts a process of its own that would live on. */
  leaves?: boolean
  /** Where it notes `<name> started|ready|ended`. */
  journal?: string
}

const orders = JSON.parse(process.argv[2] ?? '{}') as Orders

function note(what: string): void {
  if (orders.journal) appendFileSync(orders.journal, `${orders.name} ${what}\n`)
}

function listen(): void {
  const server = createServer((_request, response) => response.end('ok'))
  if (orders.socket) rmSync(orders.socket, { force: true })
  server.listen(orders.socket ?? { port: orders.port, host: '127.0.0.1' }, () => note('ready'))
}

note('started')
for (const line of orders.says ?? []) process.stdout.write(`${line}\n`)
if (orders.leaves) spawn('sleep', ['600'], { stdio: 'ignore' })
process.on('SIGTERM', () => {
  note('ended')
  if (!orders.ignoresTerm) process.exit(0)
})
if (orders.dies !== undefined) process.exitCode = orders.dies
else if (orders.socket ?? orders.port) setTimeout(listen, orders.readyAfterMs ?? 0)
else setInterval(() => undefined, 1000)
