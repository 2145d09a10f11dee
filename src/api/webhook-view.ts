import { z } from 'zod'
import { time } from './views.ts'

/** A webhook's delivery whose signature was right, and what came of it. */
export const webhookDelivery = z
  .object({
    forge: z.enum(['github', 'gitlab', 'gitea']),
    delivery: z.string(),
    event: z.string(),
    repository: z.string().nullable(),
    branch: z.string().nullable(),
    commit: z.string().nullable(),
    result: z.enum(['received', 'looking', 'looked', 'ignored', 'refused']),
    message: z.string(),
    receivedAt: time,
  })
  .meta({ id: 'WebhookDelivery' })
