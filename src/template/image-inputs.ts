import type { Digest } from '../domain/digest.ts'
import type { ImageInputs } from './images.ts'
import type { LockedPackage, LockedTool, LockedWheel } from './lock-file.ts'
import type { ContainerTemplate, DebianTemplate, NpmTool } from './template-file.ts'

/** Raised when the same inputs are made into other bytes than before: then every lock is made anew. */
const recipe = '1'

/** What debootstrapping needs beside the packages that a template names. */
export const foundation: readonly string[] = ['?essential', 'apt', 'usr-is-merged']

/** All that decides the bytes of a Debian base. */
export function debianInputs(
  { architecture, suite, users }: Pick<DebianTemplate, 'architecture' | 'suite' | 'users'>,
  { epoch, packages }: { epoch: number; packages: readonly LockedPackage[] },
): ImageInputs {
  return {
    recipe,
    kind: 'debian',
    architecture,
    suite,
    epoch: String(epoch),
    ...Object.fromEntries(users.map(({ name, uid }) => [`user ${name}`, String(uid)])),
    ...Object.fromEntries(
      packages.map(({ name, sha256, size, version }) => [
        `package ${name}`,
        `${version}, ${size} bytes, ${sha256}`,
      ]),
    ),
  }
}

export type PlacedTool = { stage: 'base' | 'fetch'; tool: NpmTool }

/** A template's tools in the order of the lock: first those of the base image. */
export function toolsOf({ tools }: ContainerTemplate): PlacedTool[] {
  return [
    ...tools.base.map((tool) => ({ stage: 'base' as const, tool })),
    ...tools.fetch.map((tool) => ({ stage: 'fetch' as const, tool })),
  ]
}

/** All that decides the bytes of a container template's images. */
export function containerInputs(
  template: ContainerTemplate,
  parts: {
    base: Digest
    epoch: number
    tools: readonly LockedTool[]
    wheels: readonly LockedWheel[]
  },
): ImageInputs {
  const { base, epoch, tools, wheels } = parts
  const placed = toolsOf(template).map(({ stage, tool }, index) => {
    const locked = tools[index]
    const what = `${stage} tool ${tool.npm}, ${JSON.stringify(tool.take)}`
    return [what, `${locked?.version}, ${locked?.size} bytes, ${locked?.sha256}`] as const
  })
  const placedWheels = (template.wheels ?? []).map((wheel, index) => {
    const locked = wheels[index]
    const what = `wheel ${wheel.pypi}, ${JSON.stringify(wheel.take)}`
    return [what, `${locked?.version}, ${locked?.size} bytes, ${locked?.sha256}`] as const
  })
  return {
    recipe,
    kind: 'container',
    architecture: template.architecture,
    dependencies: template.dependencies,
    base,
    epoch: String(epoch),
    ...Object.fromEntries([...placed, ...placedWheels]),
  }
}
