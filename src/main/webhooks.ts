import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import type { SentWebhook, Watch, WebhookAnswer, WebhookDelivery, Webhooks } from '../api/ports.ts'
import { KilnError } from '../domain/error.ts'
import type { WebhookMemory } from '../ledger/index-webhooks.ts'
import { forges, type Forge } from '../source/forge.ts'
import type { Headers } from '../source/headers.ts'
import type { KnownRepository } from '../source/known-repository.ts'
import { isSamePlace } from '../source/same-repository.ts'
import type { Verdict } from '../source/standard-webhook.ts'
import { deliveryNames, readHint, type DeliveryNames, type Hint } from '../source/webhook-hint.ts'
import { signatureOf } from '../source/webhook-signature.ts'
import type { WatchHint } from '../../workflows/watch-repository.ts'

type Dependencies = {
  /** What people said of their repositories, now. */
  repositories: () => Promise<readonly KnownRepository[]>
  /** Throws without saying what stands in the file. */
  readSecret: (path: string) => Promise<string>
  memory: WebhookMemory
  watches: {
    list: () => Promise<Watch[]>
    hint: (watch: string, hint: WatchHint) => Promise<void>
  }
  logger: Logger
  now: () => Date
}

/** How long an id is known; what is older and comes again only makes Kiln look again. */
const keptDays = 90

/** Deliveries of forges: checked, remembered, and handed to the watches that they are about. */
export function createWebhooks(dependencies: Dependencies): Webhooks {
  const { memory, logger } = dependencies
  return {
    async receive(sent) {
      const { forge, body } = known(sent)
      const signedBy = await signers(dependencies, forge, { headers: sent.headers, body })
      const names = deliveryNames(forge, sent.headers)
      const hint = readHint(forge, names.event, body)
      const seen = await remember(dependencies, { forge, names, hint, body: sent.body })
      const about = { forge, ...names }
      if (seen === 'other-body') {
        logger.warn(about, 'a webhook came again under a known id, with another body')
        throw new KilnError('refused', `delivery ${names.id} was taken with another body`, {
          place: names.id,
          fix: 'a forge never does this: was a delivery changed on its way?',
        })
      }
      if (seen === 'taken') return answer(names, 'already-taken', 'already taken')
      const taken = await act(dependencies, { forge, names, hint, signedBy })
      logger.info({ ...about, ...taken }, 'a webhook was taken')
      return taken
    },
    async list(limit) {
      return (await memory.deliveries(limit)).map(({ received_at: receivedAt, forge, ...row }) => ({
        ...row,
        forge: forge as Forge,
        result: row.result as WebhookDelivery['result'],
        receivedAt,
      }))
    },
  }
}

function known({ forge: name, body: bytes }: SentWebhook): { forge: Forge; body: string } {
  const forge = forges.find((one) => one === name)
  if (forge === undefined) {
    throw new KilnError('not_found', 'there is no such forge', {
      fix: `send it to ${forges.map((one) => `/webhooks/${one}`).join(', ')}`,
    })
  }
  try {
    // The same bytes again when it is encoded: what is checked is what came.
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    return { forge, body: decoder.decode(bytes) }
  } catch (cause) {
    throw new KilnError('invalid_input', 'the payload is not UTF-8', { cause })
  }
}

/** The repositories whose secret signed the body; every secret is tried. Throws `unauthenticated`. */
async function signers(
  { repositories, readSecret, logger, now }: Dependencies,
  forge: Forge,
  sent: { headers: Headers; body: string },
): Promise<readonly KnownRepository[]> {
  const signed = new Map<string, Verdict>()
  const found: KnownRepository[] = []
  for (const one of await repositories()) {
    const file = one.webhook?.secretFile
    if (one.forge !== forge || file === undefined) continue
    if (!signed.has(file)) {
      const secret = await readSecret(file).catch((error: unknown) => {
        logger.error({ err: error }, "a webhook's secret cannot be read")
        return ''
      })
      signed.set(file, await signatureOf(forge, { ...sent, secret, now: now() }))
    }
    if (signed.get(file) === 'signed') found.push(one)
  }
  if (found.length > 0) return found
  if ([...signed.values()].includes('stale')) {
    logger.warn({ forge }, 'a webhook was refused: it was signed at another time')
    throw new KilnError('unauthenticated', 'the signature fits, and was made at another time', {
      place: 'webhook-timestamp',
      fix: 'let the forge deliver it again; if that is refused too, the clocks differ: timedatectl, here and there',
    })
  }
  logger.warn({ forge }, 'a webhook was refused: no secret fits its signature')
  throw new KilnError('unauthenticated', 'the signature fits no secret that Kiln knows', {
    fix: 'kiln repository add <address> --forge … --webhook-secret-file …, with the secret that the forge has',
  })
}

type Delivery = { forge: Forge; names: DeliveryNames; hint: Hint }

function remember(
  { memory, now }: Dependencies,
  { forge, names, hint, body }: Delivery & { body: Uint8Array },
) {
  const at = now()
  const push = hint.kind === 'push' ? hint : null
  const keepFrom = new Date(at.getTime() - keptDays * 86_400_000).toISOString()
  const row = {
    forge,
    delivery: names.id,
    event: names.event,
    body: createHash('sha256').update(body).digest('hex'),
    repository: push?.addresses[0] ?? null,
    branch: push?.branch ?? null,
    commit: push?.commit ?? null,
    result: 'received',
    message: 'not yet looked at',
    received_at: at.toISOString(),
  }
  return memory.take(row, keepFrom)
}

/** Tells every watch of the repository to look; what is announced is checked there, against the repository. */
async function act(
  { memory, watches }: Dependencies,
  { forge, names, hint, signedBy }: Delivery & { signedBy: readonly KnownRepository[] },
): Promise<WebhookAnswer> {
  const key = { forge, delivery: names.id }
  const ignored = async (message: string): Promise<WebhookAnswer> => {
    await memory.settle(key, { result: 'ignored', message })
    return answer(names, 'ignored', message)
  }
  if (hint.kind === 'nothing') return ignored(hint.reason)
  const watched = (await watches.list()).filter(
    ({ repository }) =>
      hint.addresses.some((address) => isSamePlace(address, repository)) &&
      signedBy.some(({ address }) => isSamePlace(address, repository)),
  )
  if (watched.length === 0) {
    return ignored('no repository that this secret is for is watched under this address')
  }
  const wanted = watched.filter(({ branches }) => branches.includes(hint.branch))
  if (wanted.length === 0) return ignored(`the branch ${hint.branch} is not watched`)
  for (const watch of wanted) {
    await watches.hint(watch.id, { ...key, branch: hint.branch, commit: hint.commit })
  }
  await memory.announced(key)
  return answer(names, 'looking', 'the repository is looked at now')
}

function answer(
  { id }: DeliveryNames,
  result: WebhookAnswer['result'],
  message: string,
): WebhookAnswer {
  return { result, message, delivery: id }
}
