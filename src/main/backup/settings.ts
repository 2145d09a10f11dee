import { join } from 'node:path'
import { z } from 'zod'
import { repositoriesForm, type KnownRepository } from '../../source/known-repository.ts'
import type { Paths } from '../paths.ts'
import { readRepositories, writeRepositories } from '../repositories.ts'
import { readWatchFile, watchFileForm, writeWatchFile, type WantedWatch } from '../watch-file.ts'
import { damaged, readNamed, type BackupRecord } from './format.ts'

/** What people said to this Kiln that stands in no ledger. Secrets are in it by the names of their files only. */
export type Settings = {
  watches: readonly WantedWatch[]
  repositories: readonly KnownRepository[]
}

const form = z.strictObject({
  version: z.literal(1),
  watches: watchFileForm.shape.watches,
  repositories: repositoriesForm.shape.repositories,
})

export async function readSettings({ home, watches }: Paths): Promise<Settings> {
  const [wanted, repositories] = await Promise.all([readWatchFile(watches), readRepositories(home)])
  return { watches: wanted ?? [], repositories }
}

export function encodeSettings({ watches, repositories }: Settings): string {
  return `${JSON.stringify({ version: 1, watches, repositories })}\n`
}

/** Null for a backup of before they were in it. Throws `digest_mismatch` for what no Kiln wrote. */
export async function settingsOf(
  folder: string,
  { settings }: Pick<BackupRecord, 'settings'>,
): Promise<Settings | null> {
  if (settings === null) return null
  const text = (await readNamed(folder, settings)).toString('utf8')
  const parsed = form.safeParse(JSON.parse(text))
  if (parsed.success) return parsed.data
  throw damaged(join(folder, settings.path), parsed.error.issues[0]?.path.join('.') ?? '')
}

export async function placeSettings(
  { home, watches: file }: Paths,
  { watches, repositories }: Settings,
): Promise<void> {
  await writeWatchFile(file, watches)
  if (repositories.length > 0) await writeRepositories(home, repositories)
}
