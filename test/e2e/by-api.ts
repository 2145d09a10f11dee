import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { Repository } from '../../scripts/demo/repository.ts'
import type { Client } from '../../src/api/client.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { activeDigest, delivered, ended, eventually, followed } from './kiln-at-hand.ts'

/** `hello/dev` as the routes take it. */
export function paramsOf(environment: string): { app: string; environment: string } {
  const [app = '', name = ''] = environment.split('/')
  return { app, environment: name }
}

/** Promotes and follows it to its end, which must be a good one. */
export async function promoted(
  api: Client,
  environment: string,
  digest: string,
): Promise<Operation> {
  const { operation } = await api.promote({
    params: paramsOf(environment),
    query: {},
    body: { digest: digest as never, reason: 'test' },
  })
  return followed(api, operation)
}

/** Builds a commit of hello, waits until its artifact serves in dev, and gives its digest. */
export async function activeInDev(
  api: Client,
  repository: Repository,
  commit: string,
): Promise<string> {
  const { result } = await delivered(api, repository, commit)
  // What failed is said, instead of being waited for.
  const change = await ended(api, { id: String(result['change']) })
  expect(change).toMatchObject({ state: 'succeeded', failure: null })
  const digest = String(result['digest'])
  return eventually(`dev serves ${digest}`, 60, async () =>
    (await activeDigest(api, 'hello/dev')) === digest ? digest : undefined,
  )
}

/** Changes a file of the repository, without a commit; a change that changes nothing throws. */
export async function edit(
  repository: Repository,
  file: string,
  change: (text: string) => string,
): Promise<void> {
  const path = join(repository.path, file)
  const text = await readFile(path, 'utf8')
  expect(change(text)).not.toBe(text)
  await writeFile(path, change(text))
}

/**
 * A request takes 10 ms: the load of a test is dense enough to meet every moment of a change, and leaves
 * the processor to what is tested.
 */
export function withCalmLoad(repository: Repository): Promise<void> {
  return edit(repository, 'kiln.yaml', (text) =>
    text.replaceAll('WORK_TIME: 1ms', 'WORK_TIME: 10ms'),
  )
}
