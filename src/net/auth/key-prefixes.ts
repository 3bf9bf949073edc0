/**
 * A set of keys: all that begin with one of some prefixes. The empty prefix stands for every key.
 *
 * A range is in the set only when one prefix has all of it: what lies between two prefixes is
 * nobody's, even while it is empty.
 */
import { compareBytes } from '../../bytes.ts'
import { prefixRange } from '../../prefix-range.ts'

/** Bounds of a scan; without any it is over all keys. */
export interface KeyRange {
  readonly gt?: Uint8Array | undefined
  readonly gte?: Uint8Array | undefined
  readonly lt?: Uint8Array | undefined
  readonly lte?: Uint8Array | undefined
}

interface Span {
  readonly prefix: Uint8Array
  /** The least key above all that begin with it; undefined when there is none. */
  readonly end: Uint8Array | undefined
}

export class KeyPrefixes {
  readonly #spans: readonly Span[]

  constructor(prefixes: readonly Uint8Array[]) {
    this.#spans = prefixes.map(prefix => ({ prefix, end: prefixRange(prefix).lt }))
  }

  /** True when every key is in it. */
  get isAll(): boolean {
    return this.#spans.some(({ prefix }) => prefix.length === 0)
  }

  has(key: Uint8Array): boolean {
    return this.#spans.some(({ prefix }) => beginsWith(key, prefix))
  }

  hasRange(range: KeyRange): boolean {
    return this.#spans.some(span => isWithin(range, span))
  }
}

function beginsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  if (key.length < prefix.length) return false
  for (let index = 0; index < prefix.length; index++) {
    if (key[index] !== prefix[index]) return false
  }
  return true
}

function isWithin({ gt, gte, lt, lte }: KeyRange, { prefix, end }: Span): boolean {
  if (prefix.length > 0) {
    const lower = gte ?? gt
    if (lower === undefined || compareBytes(lower, prefix) < 0) return false
  }
  if (end === undefined) return true
  if (lt !== undefined) return compareBytes(lt, end) <= 0
  return lte !== undefined && compareBytes(lte, end) < 0
}
