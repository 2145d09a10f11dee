import type { LocalVerbs, TemplateInput, TemplateSummary } from '../cli/local-port.ts'
import { checkLock } from '../template/check-template.ts'
import { listTemplates, showTemplate } from '../template/list-templates.ts'
import type { Lock } from '../template/lock-file.ts'
import { lockTemplate } from '../template/lock-template.ts'
import { holdingStore } from '../store/held-store.ts'
import type { Config } from './config.ts'
import { readObjectStore } from './object-store.ts'
import { templateRoom } from './template-room.ts'

type TemplateVerbs = Pick<LocalVerbs, 'templates' | 'template' | 'lockTemplate' | 'checkTemplate'>

/** Authoring: templates lie in a folder under version control, what they lock lies in the store. */
export function localTemplates(config: Config): TemplateVerbs {
  const store = () => holdingStore(readObjectStore(config.store, { readOnly: false }).store)
  const show = async (name: string) => {
    const { lock } = await showTemplate(config.templates, name)
    const entries = lock === null ? [] : entriesOf(lock.content)
    return { name, lock: lock?.digest ?? null, inputs: entries.length, entries }
  }
  return {
    async templates() {
      const names = await listTemplates(config.templates)
      return Promise.all(names.map(async (name) => summaryOf(await show(name))))
    },
    template: show,
    async lockTemplate(name, report) {
      // A lock that cannot be read is no reason not to lock anew.
      const before = await show(name).then(
        (shown) => shown.entries,
        () => [],
      )
      const { lock } = await lockTemplate(templateRoom(config, store(), report), name)
      return { name, lock, changes: changesBetween(before, (await show(name)).entries) }
    },
    async checkTemplate(name) {
      await checkLock(
        templateRoom(config, store(), () => undefined),
        name,
      )
      return summaryOf(await show(name))
    },
  }
}

function summaryOf({ name, lock, inputs }: TemplateSummary): TemplateSummary {
  return { name, lock, inputs }
}

function entriesOf(lock: Lock): TemplateInput[] {
  const inputs =
    lock.kind === 'debian'
      ? lock.packages
      : [
          ...lock.tools.map((tool) => ({ ...tool, name: tool.npm })),
          ...(lock.wheels ?? []).map((wheel) => ({ ...wheel, name: wheel.pypi })),
        ]
  return inputs.map((input) => ({
    name: input.name,
    version: input.version,
    size: input.size,
    digest: input.sha256,
  }))
}

function changesBetween(
  before: readonly TemplateInput[],
  after: readonly TemplateInput[],
): string[] {
  const old = new Map(before.map((input) => [input.name, input]))
  const now = new Set(after.map((input) => input.name))
  const changed = after.flatMap((input) => {
    const was = old.get(input.name)
    if (was === undefined) return [`+ ${input.name} ${input.version}`]
    if (was.digest === input.digest) return []
    return [`~ ${input.name} ${was.version} → ${input.version}`]
  })
  return [
    ...changed,
    ...before.filter((input) => !now.has(input.name)).map((input) => `- ${input.name}`),
  ]
}
