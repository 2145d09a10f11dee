import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'

export type Asked = { path: string; authorization: string | undefined }

export type GitServer = {
  port: number
  /** The certificate, which is its own authority. */
  certificate: string
  asked: Asked[]
  close: () => Promise<void>
}

type Options = {
  /** Bare repositories, and others by the path of their folder `.git`. */
  repositories: string
  /** Where the certificate is made. */
  folder: string
  host: string
  /** The password that is let in, whoever the user; without it all are. */
  password?: () => string
  /** Is waited for before each answer. */
  hold?: (asked: Asked) => Promise<void>
  /** Sends everybody elsewhere instead. */
  redirect?: () => string | undefined
}

/** git's own http-backend behind https with a certificate of its own. */
export async function gitServer(options: Options): Promise<GitServer> {
  const { folder, host } = options
  const [key, certificate] = [join(folder, `${host}.key`), join(folder, `${host}.pem`)]
  const name = /^[0-9.]+$/.test(host) ? `IP:${host}` : `DNS:${host}`
  const subject = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=${name}`]
  const files = ['-keyout', key, '-out', certificate]
  const kind = ['-newkey', 'rsa:2048', '-nodes', '-days', '30']
  await execa('openssl', ['req', '-x509', ...kind, ...files, ...subject])
  const tls = { key: await readFile(key), cert: await readFile(certificate) }
  const asked: Asked[] = []
  const server = createServer(tls, (request, response) => {
    answer(request, response).catch(() => response.destroy())
  })
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { authorization } = request.headers
    const one = { path: request.url ?? '', authorization }
    asked.push(one)
    await options.hold?.(one)
    const away = options.redirect?.()
    if (away !== undefined) response.writeHead(302, { location: `${away}${request.url}` }).end()
    else if (!isLetIn(authorization, options.password?.()))
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end()
    else await backend(request, response, options.repositories)
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    certificate,
    asked,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function isLetIn(authorization: string | undefined, password: string | undefined): boolean {
  if (password === undefined) return true
  const basic = Buffer.from(authorization?.replace(/^Basic /, '') ?? '', 'base64').toString()
  return basic.slice(basic.indexOf(':') + 1) === password
}

async function backend(request: IncomingMessage, response: ServerResponse, root: string) {
  const url = new URL(request.url ?? '/', 'https://git.example.org')
  const input: Buffer[] = []
  for await (const chunk of request) input.push(chunk as Buffer)
  const { stdout } = await execa('git', ['http-backend'], {
    encoding: 'buffer',
    reject: false,
    stripFinalNewline: false,
    input: Buffer.concat(input),
    env: {
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'uploadpack.allowFilter',
      GIT_CONFIG_VALUE_0: 'true',
      // As the large hosts do: any object of the repository is given out by its id.
      GIT_CONFIG_KEY_1: 'uploadpack.allowAnySHA1InWant',
      GIT_CONFIG_VALUE_1: 'true',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method ?? '',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      CONTENT_LENGTH: String(Buffer.concat(input).length),
    },
  })
  const body = Buffer.from(stdout)
  const end = body.indexOf('\r\n\r\n')
  for (const line of body.toString('latin1', 0, end).split('\r\n')) {
    const [name = '', value = ''] = line.split(': ')
    if (name === 'Status') response.statusCode = Number(value.slice(0, 3))
    else response.setHeader(name, value)
  }
  response.end(body.subarray(end + 4))
}
