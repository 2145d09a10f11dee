import type { Client } from '@temporalio/client'
import { msToTs } from '@temporalio/common'
import type { Logger } from 'pino'
import type { Config } from './config.ts'

const dayMs = 86_400_000

/**
 * How long Kiln's own Temporal keeps what has ended; what runs it keeps anyway. A Temporal that somebody
 * else runs keeps its own setting. Not being able to set it is no reason not to start.
 */
export async function setRetention(
  client: Client,
  { temporal, keep }: Config,
  logger: Logger,
): Promise<void> {
  if (temporal.kind !== 'own') return
  const { namespace } = client.options
  const workflowExecutionRetentionTtl = msToTs(keep.historyDays * dayMs)
  try {
    await client.workflowService.updateNamespace({
      namespace,
      config: { workflowExecutionRetentionTtl },
    })
  } catch (error) {
    logger.warn({ err: error }, 'the retention of histories could not be set')
  }
}
