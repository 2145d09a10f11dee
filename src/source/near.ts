/** The known word that a mistyped one is nearest to, at most a third of its letters away. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const near = known
    .map((one) => ({ one, away: distance(word.slice(0, 60), one) }))
    .filter(({ one, away }) => away <= Math.max(1, Math.floor(one.length / 3)))
    .toSorted((a, b) => a.away - b.away)
  return near[0]?.one
}

/** Letters to insert, remove or replace (Levenshtein). */
function distance(from: string, to: string): number {
  let row = [...Array(to.length + 1).keys()]
  for (const [i, letter] of Array.from(from).entries()) {
    const next = [i + 1]
    for (const [j, other] of Array.from(to).entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1)
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
