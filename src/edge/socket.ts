import { connect } from 'node:net'
import { KilnError } from '../domain/error.ts'

const answerWithinMs = 3000

/**
 * Sends one command to one of HAProxy's Unix sockets and returns the whole answer, trimmed.
 * Throws `edge_unavailable` when nobody answers.
 */
export function ask(socketPath: string, command: string): Promise<string> {
  if (command.includes('\n') || command.includes(';')) {
    throw new KilnError('internal', `not one command: ${JSON.stringify(command)}`)
  }
  return new Promise((resolve, reject) => {
    const fail = (cause: Error) => {
      socket.destroy()
      reject(
        new KilnError('edge_unavailable', `HAProxy does not answer: ${cause.message}`, {
          cause,
          place: socketPath,
          fix: 'kiln status',
        }),
      )
    }
    const parts: Buffer[] = []
    const socket = connect(socketPath, () => socket.end(`${command}\n`))
    socket.setTimeout(answerWithinMs, () => fail(new Error('no answer in time')))
    socket.on('error', fail)
    socket.on('data', (part) => parts.push(part))
    socket.on('close', () => resolve(Buffer.concat(parts).toString('utf8').trim()))
  })
}
