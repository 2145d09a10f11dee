import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Disturbance, Edge, Histories, Left, Told } from './checker/evidence.ts'

/** What a chaos run writes down for the checker, in the form of checker/evidence.ts, while it happens. */
export type Journal = ReturnType<typeof openJournal>

export function openJournal(folder: string) {
  mkdirSync(folder, { recursive: true })
  const line = (name: string, value: unknown) =>
    appendFileSync(join(folder, name), `${JSON.stringify(value)}\n`)
  const whole = (name: string, value: unknown) =>
    writeFileSync(join(folder, name), JSON.stringify(value, null, 2))
  return {
    folder,
    file: (name: string) => join(folder, name),
    told: (told: Told) => line('operations.jsonl', told),
    disturbed: (disturbance: Disturbance) => line('disturbances.jsonl', disturbance),
    checkpoint: (note: string) => line('checkpoints.jsonl', { note }),
    left: (left: Left) => whole('docker-final.json', left),
    edge: (edge: Edge) => whole('edge.json', edge),
    histories: (histories: Histories) => whole('history.json', histories),
  }
}
