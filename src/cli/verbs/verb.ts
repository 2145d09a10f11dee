import type { Command } from 'commander'
import type { Session } from '../session.ts'

/** What commander found: arguments in order, options by name. */
export type Given<Options> = { args: readonly string[]; options: Options }

/** What a verb does; the number is the exit code, 0 when it gives none. */
export type Action<Options> = (session: Session, given: Given<Options>) => Promise<number | void>

/** Turns an action into commander's own form of one. */
export type Run = <Options>(action: Action<Options>) => (...given: unknown[]) => Promise<void>

/** Adds one verb, or a family of them, to the program. Nothing heavy may be imported before it runs. */
export type Verb = (program: Command, run: Run) => void
