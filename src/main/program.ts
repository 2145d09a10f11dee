import { extname, join } from 'node:path'

/** The file of one of Kiln's programs: of the same kind, compiled or source, as the code that asks. */
export function programFile(name: string): string {
  return join(import.meta.dirname, `${name}${extname(import.meta.filename)}`)
}
