// Exits 0 when node_modules holds exactly what package-lock.json says, 1 when `npm ci` is needed.
// npm's own record of what it installed is written last, so an interrupted install never matches.
// Plain JavaScript: it runs on the machine's Node, before the locked one is there.
import { readFileSync } from 'node:fs'
import { env, exit, platform, arch } from 'node:process'

const root = env.KILN_SETUP_ROOT ?? '.'

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(`${root}/${file}`, 'utf8')).packages
  } catch {
    return undefined
  }
}

/** npm leaves out optional packages of other platforms, and what only those need. */
function mayBeAbsent(entry) {
  if (!entry.optional && !entry.devOptional) return false
  const forThisMachine = entry.os?.includes(platform) && entry.cpu?.includes(arch)
  return !forThisMachine || entry.libc?.includes('musl')
}

function matches(locked, installed) {
  const named = Object.entries(locked).filter(([path]) => path !== '')
  const missing = named.filter(([path, entry]) => {
    const found = installed[path]
    return found ? found.integrity !== entry.integrity : !mayBeAbsent(entry)
  })
  const extra = Object.keys(installed).filter((path) => !(path in locked))
  return missing.length === 0 && extra.length === 0
}

const locked = packagesOf('package-lock.json')
const installed = packagesOf('node_modules/.package-lock.json')
exit(locked && installed && matches(locked, installed) ? 0 : 1)
