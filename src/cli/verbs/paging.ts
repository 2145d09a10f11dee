import { InvalidArgumentError, Option } from 'commander'
import type { Session } from '../session.ts'

export type PageOptions = { limit: number; cursor?: string }

export function limitOption(): Option {
  return new Option('--limit <count>', 'how many at most')
    .default(50)
    .argParser(wholeNumber(1, 200))
}

/** A reader of whole numbers for commander; anything else is a usage error. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^[0-9]+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
    }
    return value
  }
}

export function pageOf({ limit, cursor }: PageOptions): { limit: number; cursor?: string } {
  return cursor === undefined ? { limit } : { limit, cursor }
}

export function sayMore(session: Session, next: string | null): void {
  if (next !== null && !session.json) session.output.talk(`more: --cursor ${next}`)
}
