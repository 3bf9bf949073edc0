/** What somebody may have meant by a word that is none of those known. Pure. */

/** More differences than this make another word. */
const DISTANCE_MAX = 2

/** The known word that is nearest to a misspelt one; undefined when none is near. */
export function closestWord(word: string, known: readonly string[]): string | undefined {
  let closest: string | undefined
  let distance = Math.min(DISTANCE_MAX + 1, word.length)
  for (const other of known) {
    const next = editDistance(word, other)
    if (next < distance) {
      closest = other
      distance = next
    }
  }
  return closest
}

/**
 * Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal
 * string alignment).
 */
export function editDistance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwap ? before[j - 2]! + 1 : replaced
      next.push(Math.min(replaced, swapped, row[j]! + 1, next[j - 1]! + 1))
    }
    before = row
    row = next
  }
  return row[b.length]!
}
