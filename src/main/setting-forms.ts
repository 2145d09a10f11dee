import { isAbsolute } from 'node:path'
import { z } from 'zod'

// What a setting's text may look like, and what is read from it.

export const port = z.coerce.number().int().min(1024).max(65_535)
/** Where people's browsers come in, 80 and 443 may be wanted. */
export const anyPort = z.coerce.number().int().min(1).max(65_535)
/** A first port, with room for those that follow it. */
export const firstPort = port.max(65_400)
export const folder = z.string().min(1)
/** `host:port`, as gRPC clients write it. */
export const address = z.string().regex(/^[A-Za-z0-9.[\]:-]+:\d{1,5}$/, 'wanted <host>:<port>')
export const engine = z
  .string()
  .regex(/^unix:\/\/\/.+/, 'wanted unix:///<path>: Kiln speaks to a local engine only')
  .transform((text) => text.slice('unix://'.length))
/** `s3://<bucket>` or `s3://<bucket>/<prefix>`. */
export const s3Address = z
  .string()
  .regex(
    /^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/[A-Za-z0-9._-]+)*$/,
    'wanted s3://<bucket>/<prefix>',
  )
/** Without a password: addresses are shown. */
export const postgres = z
  .string()
  .regex(
    /^postgres(ql)?:\/\/[^:@/?#\s]+@[^@/?#\s]*\/[^@/?#\s]+(\?(sslmode|sslrootcert|host)=[^&#\s]+(&(sslmode|sslrootcert|host)=[^&#\s]+)*)?$/,
    'wanted postgres://<user>@<host>:<port>/<database>, the password in the file of KILN_INDEX_PASSWORD',
  )
export const days = z.coerce.number().int().min(1).max(3650)
/** Bytes. */
export const size = z
  .string()
  .regex(/^\d{1,6}(Ki|Mi|Gi|Ti)?$/, 'wanted an amount such as 500Mi or 2Gi')
  .transform(
    (text) => Number.parseInt(text, 10) * 1024 ** Math.max(0, ' KMGT'.indexOf(text.at(-2) ?? ' ')),
  )
export const label = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, 'wanted a DNS label')
export const folders = z
  .string()
  .transform((text) => text.split(':').filter((part) => part !== ''))
  .refine((parts) => parts.every((part) => isAbsolute(part)), 'wanted absolute paths, joined by :')

/** An IPv4 address to listen on, and a port. */
export const openAddress = z
  .string()
  .regex(/^\d{1,3}(\.\d{1,3}){3}:\d{1,5}$/, 'wanted <IPv4 address>:<port>')
  .transform((text) => {
    const [host = '', digits = ''] = text.split(':')
    return { host, port: Number(digits) }
  })
  .refine(
    ({ host, port: number }) =>
      z.ipv4().safeParse(host).success && anyPort.safeParse(number).success,
    'wanted <IPv4 address>:<port>',
  )
