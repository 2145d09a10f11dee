import type { CheckedTemplate } from '../domain/template.ts'
import { checkTemplate } from './check-template.ts'
import type { TemplateRoom } from './template-room.ts'

export type TemplateActivities = ReturnType<typeof templateActivities>

export function templateActivities(room: TemplateRoom) {
  return {
    /** Idempotent: what it brings into the store is named by digest. */
    async checkTemplate({ name }: { name: string }): Promise<CheckedTemplate> {
      return await checkTemplate(room, name)
    },
  }
}
