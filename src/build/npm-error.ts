import { KilnError } from '../domain/error.ts'

const shown = 20

/** What npm's failure means, from all that it said. */
export function npmError(exitCode: number, said: readonly string[]): KilnError {
  const code = said.map((line) => /^npm error code (\S+)/.exec(line)?.[1]).find(Boolean)
  const lines = said.slice(-shown)
  if (code === 'EINTEGRITY') {
    return new KilnError('lock_mismatch', 'a package is not what package-lock.json says it is', {
      place: 'package-lock.json',
      lines,
    })
  }
  // npm explains itself with its whole manual; what counts stands before it.
  const misfits = said.filter((line) => /^npm error (Missing|Invalid): /.test(line))
  if (code === 'EUSAGE' && misfits.length > 0) {
    return new KilnError(
      'lock_mismatch',
      'package.json and package-lock.json do not fit together',
      {
        place: 'package-lock.json',
        fix: 'npm install --package-lock-only, then commit both files',
        lines: misfits.slice(0, shown),
      },
    )
  }
  return new KilnError('fetch_failed', `npm ended with exit code ${exitCode}`, { lines })
}
