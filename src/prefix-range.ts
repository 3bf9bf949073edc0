/** The range of keys that begin with a prefix. Pure. */
import { copyBytes } from './bytes.ts'

export interface PrefixRange {
  readonly gte?: Uint8Array
  readonly lt?: Uint8Array
}

/** The keys that begin with `prefix`: from it up to the first that does not. */
export function prefixRange(prefix: Uint8Array): PrefixRange {
  if (prefix.length === 0) return {}
  const end = copyBytes(prefix)
  let last = end.length - 1
  while (last >= 0 && end[last] === 0xff) last--
  if (last < 0) return { gte: prefix }
  end[last] = end[last]! + 1
  return { gte: prefix, lt: end.subarray(0, last + 1) }
}
