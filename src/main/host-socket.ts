import { createServer, request } from 'node:http'
import { chmod, rm } from 'node:fs/promises'
import { KilnError } from '../domain/error.ts'
import { parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'

/** What the host process answers on its Unix socket: instances' logs never pass through Temporal. */
export type HostAnswers = {
  logs: (environment: EnvironmentName, tail: number) => Promise<string | undefined>
}

export async function serveHost(
  socket: string,
  answers: HostAnswers,
): Promise<{ close: () => Promise<void> }> {
  await rm(socket, { force: true })
  const server = createServer((incoming, response) => {
    const url = new URL(incoming.url ?? '/', 'http://host')
    const tail = Number(url.searchParams.get('tail'))
    const answer = async () => {
      const { name } = parseEnvironmentName(url.searchParams.get('environment') ?? '')
      return answers.logs(name, Number.isInteger(tail) && tail > 0 ? tail : 200)
    }
    answer().then(
      (text) => response.writeHead(text === undefined ? 404 : 200).end(text),
      () => response.writeHead(500).end(),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(socket, resolve)
  })
  await chmod(socket, 0o600)
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Asks the host process for an environment's last log lines. Throws `not_running` when it does not answer. */
export function askHostLogs(
  socket: string,
  environment: EnvironmentName,
  tail: number,
): Promise<string | undefined> {
  const query = new URLSearchParams({ environment, tail: String(tail) })
  return new Promise((resolve, reject) => {
    const refuse = (cause?: Error) =>
      reject(
        new KilnError('not_running', 'the host process does not answer', {
          cause,
          fix: 'kiln status',
        }),
      )
    request({ socketPath: socket, path: `/logs?${query}`, timeout: 10_000 }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', refuse)
      response.once('end', () => {
        if (response.statusCode === 404) resolve(undefined)
        else if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'))
        else refuse()
      })
    })
      .once('timeout', () => refuse())
      .once('error', refuse)
      .end()
  })
}
