import { z } from 'zod'
import { parseYaml } from './yaml.ts'

/** A path inside the image: absolute, plain characters, without `.` or `..` parts. */
const imagePath = z
  .string()
  .max(200)
  .regex(
    /^(\/[A-Za-z0-9_@+][A-Za-z0-9._@+-]*)+$/,
    'must be an absolute path of plain characters, without . or .. parts',
  )
  .refine(
    (path) => path.startsWith('/usr/local/') || path.startsWith('/opt/'),
    'must be below /usr/local or /opt: the rest belongs to Debian packages',
  )

/** A path inside an npm package's folder. */
const packagePath = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*(\/[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*)*$/, {
    message: 'must be a relative path of plain characters, without . or .. parts',
  })

const architecture = z.enum(['amd64'], {
  error: (issue) =>
    issue.input === 'arm64'
      ? 'arm64 is not supported yet: templates are made for amd64'
      : 'must be amd64',
})

const templateName = z
  .string()
  .regex(/^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/, 'must be a name such as debian-base')

const npmTool = z.strictObject({
  npm: z
    .string()
    .max(214)
    .regex(
      /^(@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*$/,
      'must be the name of an npm package',
    ),
  version: z
    .string()
    .max(64)
    .regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/, 'must be one exact version such as 24.21.0'),
  take: z.discriminatedUnion('what', [
    z.strictObject({ what: z.literal('file'), from: packagePath, to: imagePath }),
    z.strictObject({
      what: z.literal('tree'),
      to: imagePath,
      links: z.record(imagePath, packagePath).default({}),
    }),
  ]),
})

/** One file of a wheel: where Python's index is the only place that offers a program by digest. */
const wheel = z.strictObject({
  pypi: z
    .string()
    .max(100)
    .regex(/^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/, "must be the name of a package on Python's index"),
  version: z
    .string()
    .max(64)
    .regex(/^\d+(\.\d+)*$/, 'must be one exact version such as 1.9.1'),
  take: z.strictObject({ from: packagePath, to: imagePath }),
})

const version = z.literal(1, { error: 'must be 1, the only version of this format' })

const debian = z.strictObject({
  version,
  kind: z.literal('debian'),
  architecture,
  suite: z.enum(['bookworm'], { error: 'must be bookworm, the one suite this Kiln builds' }),
  packages: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9+.-]{1,99}$/, 'must be the name of a Debian package'))
    .max(500),
  users: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'must be a plain user name'),
        uid: z.int().min(100).max(59_999),
      }),
    )
    .max(20),
})

const container = z.strictObject({
  version,
  kind: z.literal('container'),
  architecture,
  base: templateName,
  dependencies: z.enum(['npm', 'none']),
  tools: z.strictObject({
    base: z.array(npmTool).max(20),
    fetch: z.array(npmTool).max(20),
  }),
  wheels: z.array(wheel).max(20).optional(),
})

const template = z.discriminatedUnion('kind', [debian, container], {
  error: (issue) =>
    issue.code === 'invalid_union' ? 'kind must be debian or container' : undefined,
})

/** One npm package, and what of it goes where in the image. */
export type NpmTool = z.output<typeof npmTool>
/** One wheel, and which of its files goes where in the image. */
export type WheelTool = z.output<typeof wheel>
export type DebianTemplate = z.output<typeof debian>
export type ContainerTemplate = z.output<typeof container>
export type Template = DebianTemplate | ContainerTemplate

const maxBytes = 64 * 1024

/** Parses template.yaml; throws `invalid_yaml` with the place. */
export function parseTemplate(text: string): Template {
  return parseYaml({ file: 'template.yaml', text, maxBytes }, template)
}
