import { encodeName } from './entry-name.ts'
import { deepest, refuseEntry } from './source-name.ts'
import type { SourceTree } from './source-node.ts'

const mostLinks = 40

/** Parts of targets that are followed in one tree: a million, so that no tree of links holds a process up. */
const mostSteps = 1_000_000

/** Throws `invalid_archive` for a symlink that leads out of the tree, in circles, or a very long way. */
export function checkLinks(nodes: SourceTree): void {
  const budget = { steps: mostSteps }
  for (const [path, node] of nodes) if (node.type === 'symlink') checkLink(nodes, path, budget)
}

/** Follows a symlink part by part, as the kernel would, through other links of the tree. */
function checkLink(nodes: SourceTree, path: string, budget: { steps: number }): void {
  const name = encodeName(path)
  let followed = 0
  /** Where it has come to: the folders from the root on, each as its whole path. */
  const at = foldersAbove(path)
  const todo = [path.slice(path.lastIndexOf('/') + 1)]
  for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
    budget.steps -= 1
    if (budget.steps < 0) refuseEntry(name, 'links that lead a very long way')
    const next = step(at, part)
    if (next === undefined) refuseEntry(name, 'a link that leads out of the tree')
    if (at.length > deepest) refuseEntry(name, `a link more than ${deepest} folders deep`)
    const node = nodes.get(next)
    if (node?.type !== 'symlink') continue
    followed += 1
    if (followed > mostLinks) refuseEntry(name, 'a link that leads in circles')
    if (/^\/|\\|\p{Cc}/u.test(node.target)) refuseEntry(name, 'a link out of the tree')
    at.pop()
    todo.push(...node.target.split('/').toReversed())
  }
}

/** Goes on by one part and tells where that is, '' for the root; undefined above the root. */
function step(at: string[], part: string): string | undefined {
  const here = at.at(-1)
  if (part === '' || part === '.') return here ?? ''
  if (part === '..') return at.pop() === undefined ? undefined : (at.at(-1) ?? '')
  const next = here === undefined ? part : `${here}/${part}`
  at.push(next)
  return next
}

/** Every folder above a path, the topmost first; not the root. */
function foldersAbove(path: string): string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_part, index) => parts.slice(0, index + 1).join('/'))
}
