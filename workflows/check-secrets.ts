import { proxyActivities } from '@temporalio/workflow'
import type { SecretActivities, SecretState } from '../src/runtime/secret-source.ts'

export type CheckSecretsInput = { host: string; secrets: Readonly<Record<string, string>> }

/** Asks a host which of an environment's secrets it has. References go there, yes or no comes back. */
export async function checkSecrets({ host, secrets }: CheckSecretsInput): Promise<SecretState[]> {
  const { checkSecrets: check } = proxyActivities<SecretActivities>({
    taskQueue: `host.${host}`,
    scheduleToCloseTimeout: '10 seconds',
    retry: { maximumAttempts: 3 },
  })
  return (await check({ secrets })).secrets
}
