/** Ids of nodes as people read them: so many digits that they can be told apart. */

/** Digits that tell nodes apart, unless that takes more. */
const DIGITS_MIN = 8

/** How the ids are shown where all of these may be; others are shown as long. */
export function shortIds(ids: Iterable<string>): (id: string) => string {
  const all = [...new Set(ids)]
  const longest = Math.max(DIGITS_MIN, ...all.map(({ length }) => length))
  let digits = DIGITS_MIN
  while (digits < longest && new Set(all.map(id => id.slice(0, digits))).size < all.length) digits++
  return id => id.slice(0, digits)
}

/** The ids of nodes in a text, as short as they mostly are elsewhere, or as `nameOf` has them. */
export function shortenIds(
  text: string,
  nameOf = (id: string): string => id.slice(0, DIGITS_MIN),
): string {
  return text.replaceAll(/(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])/g, id => nameOf(id))
}
