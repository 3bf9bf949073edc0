/** Choosing at random among several. */
import type { Random } from '../random.ts'

/** `count` of the items, or all when there are fewer, in a random order. */
export function chooseSome<T>(random: Random, items: readonly T[], count: number): T[] {
  const rest = [...items]
  const chosen: T[] = []
  while (chosen.length < count && rest.length > 0) {
    const at = random.below(rest.length)
    chosen.push(rest[at]!)
    rest[at] = rest.at(-1)!
    rest.pop()
  }
  return chosen
}
