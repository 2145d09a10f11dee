import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { good, missing, type Check } from './check.ts'

/** Every template has a lock; whether its inputs are there is `kiln template check`'s to say. */
export function checkTemplates(folder: string): Check {
  const wanted = 'at least one template, all locked'
  const names = templatesIn(folder)
  const unlocked = names.filter((name) => !existsSync(join(folder, name, 'template.lock')))
  const [first] = unlocked
  if (names.length === 0) {
    const finding = { name: 'templates', found: `none in ${folder}`, wanted }
    return missing(finding, 'set KILN_TEMPLATES to the folder that holds them')
  }
  if (first === undefined) {
    return good({ name: 'templates', found: `${names.join(', ')}: locked`, wanted })
  }
  const found = `without a lock: ${unlocked.join(', ')}`
  return missing({ name: 'templates', found, wanted }, `kiln template lock ${first}`)
}

function templatesIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, 'template.yaml')))
    .toSorted()
}
