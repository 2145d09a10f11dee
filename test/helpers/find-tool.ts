import { accessSync, constants } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'

/** Another people's program that the set-up brings: on PATH, or in the repository's .cache/tools/bin. */
export function findTool(name: string): string {
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    resolve(import.meta.dirname, '../../.cache/tools/bin'),
  ]
  const found = folders.map((folder) => join(folder, name)).find(isExecutable)
  if (found === undefined) throw new Error(`${name} is not installed: npm run setup brings it`)
  return found
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
