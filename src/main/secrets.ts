import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'

/** Reads a file, or makes it (0600) with what `make` gives; of several makers at once one wins for all. */
async function readOrMake(path: string, make: () => string): Promise<string> {
  const there = await readFile(path, 'utf8').catch(() => undefined)
  if (there !== undefined) return there
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`
  const file = await open(temporary, 'wx', 0o600)
  await file.writeFile(make())
  await file.sync()
  await file.close()
  await link(temporary, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await rm(temporary)
  return readFile(path, 'utf8')
}

function secret(): string {
  return randomBytes(32).toString('base64url')
}

/** The API token, made on the first start. */
export async function openToken(path: string): Promise<string> {
  return (await readOrMake(path, () => `${secret()}\n`)).trim()
}

const credentialsSchema = z.strictObject({
  version: z.literal(1),
  host: z.string(),
  build: z.string(),
  reader: z.string(),
})
export type RegistryCredentials = z.infer<typeof credentialsSchema>

/** The registry's passwords, made on the first start. */
export async function openCredentials(path: string): Promise<RegistryCredentials> {
  const text = await readOrMake(path, () =>
    JSON.stringify({ version: 1, host: secret(), build: secret(), reader: secret() }),
  )
  return credentialsSchema.parse(JSON.parse(text))
}

/** A Docker client configuration that lets cosign and others read from the registry. */
export async function writeDockerConfig(
  folder: string,
  registry: string,
  password: string,
): Promise<void> {
  const auth = Buffer.from(`reader:${password}`).toString('base64')
  await rm(`${folder}/config.json`, { force: true })
  await readOrMake(
    `${folder}/config.json`,
    () => `${JSON.stringify({ auths: { [registry]: { auth } } }, null, 2)}\n`,
  )
}
