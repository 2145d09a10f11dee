import { KilnError } from '../domain/error.ts'

/** One instruction, its continued lines joined as Docker joins them. */
export type LogicalLine = {
  /** 1 for the first line of the file. */
  line: number
  keyword: string
  /** What follows the keyword, without the space around it. */
  rest: string
}

/** What every check of one instruction knows. */
export type Here = LogicalLine & { file: string }

/** `place` is `Dockerfile:3 FROM`; `fix` says what to write instead. */
export function refuse(here: Here, message: string, fix: string): KilnError {
  return new KilnError('invalid_dockerfile', message, {
    place: `${here.file}:${here.line} ${here.keyword}`,
    fix,
    lines: [`${here.keyword} ${here.rest}`.slice(0, 200)],
  })
}

/** A fault of the text itself: `place` is `Dockerfile:3`. */
export function refuseLine(
  { file, line }: { file: string; line: number },
  message: string,
  fix: string,
): KilnError {
  return new KilnError('invalid_dockerfile', message, { place: `${file}:${line}`, fix })
}
