import { buildArguments } from '../build/engine.ts'
import { parseDockerfile } from '../template/dockerfile.ts'
import { renderDockerfile } from '../template/render-dockerfile.ts'

/**
 * The template's Dockerfile as the engine gets it: parsed against the allow-list, its base named by
 * digest. The ARG block only declares the names; each build gives their values.
 */
export function renderFrom(text: string, { base }: { base: string }): string {
  const plan = parseDockerfile(text, { place: 'Dockerfile' })
  return renderDockerfile(plan, { from: () => base, args: buildArguments(0) })
}
