import type { FastifyInstance } from 'fastify'
import { KilnError } from '../domain/error.ts'
import type { Webhooks } from './ports.ts'

/** The one route that forges send to; who they are is told by the signature, not by a token. */
export const webhookPath = '/webhooks/:forge'

/** GitHub sends 25 MB at most; a push that Kiln looks at has some KB. */
const maxBodyBytes = 5 * 1024 * 1024
/** Deliveries that are read at once; more are sent again by the forge. */
const atOnce = 16

/**
 * Takes deliveries with their exact bytes. The cap holds while the body comes; one that comes too slowly
 * is ended by the server's request timeout. Nothing is parsed before its signature is checked.
 */
export async function registerWebhooks(app: FastifyInstance, webhooks: Webhooks): Promise<void> {
  await app.register(async (scope) => {
    let reading = 0
    scope.removeAllContentTypeParsers()
    const whole = { parseAs: 'buffer', bodyLimit: maxBodyBytes } as const
    scope.addContentTypeParser('application/json', whole, (_request, body, done) =>
      done(null, body),
    )
    scope.addHook('onRequest', async (_request, reply) => {
      if (reading >= atOnce) {
        reply.header('retry-after', '10')
        throw new KilnError('overloaded', 'too many webhooks at once', {
          fix: 'deliver it again in a moment',
        })
      }
      reading += 1
      reply.raw.once('close', () => (reading -= 1))
    })
    scope.addHook('preParsing', async (request) => {
      const type = request.headers['content-type'] ?? ''
      if (/^application\/json *(;|$)/i.test(type)) return
      throw new KilnError('invalid_input', 'a webhook must be sent as application/json', {
        place: 'content-type',
        fix: "set the content type to application/json in the webhook's settings",
      })
    })
    scope.post<{ Params: { forge: string } }>(
      webhookPath,
      { schema: { hide: true } },
      async (request, reply) => {
        const { body } = request
        const answer = await webhooks.receive({
          forge: request.params.forge,
          headers: request.headers,
          body: body instanceof Uint8Array ? body : new Uint8Array(),
        })
        return reply.code(answer.result === 'looking' ? 202 : 200).send(answer)
      },
    )
  })
}
