/**
 * The keys of a command, or of a transaction, as it sees and changes them: synchronous, so that
 * commands are pure functions of it. What was changed comes out as operations, one for each key.
 */
import { assert } from '../../assert.ts'
import { equalBytes } from '../../bytes.ts'
import type { HandlerEntry, HandlerOperation } from '../request-handler.ts'
import { latin1 } from './characters.ts'

/** Up to so many keys are found by comparing. */
const COMPARED_MAX = 8

/** The keys without those that come twice; the array itself when none does. */
export function distinctKeys(keys: readonly Uint8Array[]): readonly Uint8Array[] {
  if (keys.length < 2) return keys
  if (keys.length === 2) return equalBytes(keys[0]!, keys[1]!) ? [keys[0]!] : keys
  const byName = new Map<string, Uint8Array>()
  for (const key of keys) byName.set(latin1(key), key)
  return byName.size === keys.length ? keys : [...byName.values()]
}

export interface KeyViewTerms {
  readonly nowMs: number
  readonly valueSizeMax: number
}

export class KeyView implements KeyViewTerms {
  /** Milliseconds since the Unix epoch: what expires now or before is gone. */
  readonly nowMs: number
  /** Bytes of a value, at most. */
  readonly valueSizeMax: number
  readonly #keys: readonly Uint8Array[]
  readonly #entries: (HandlerEntry | undefined)[]
  readonly #changed: boolean[] = []
  readonly #indices: Map<string, number> | undefined

  /** Requires that the keys differ. Takes over the list of entries. */
  constructor(
    keys: readonly Uint8Array[],
    entries: readonly (HandlerEntry | undefined)[],
    { nowMs, valueSizeMax }: KeyViewTerms,
  ) {
    this.nowMs = nowMs
    this.valueSizeMax = valueSizeMax
    this.#keys = keys
    this.#entries = [...entries]
    if (keys.length > COMPARED_MAX) {
      this.#indices = new Map(keys.map((key, index) => [latin1(key), index]))
    }
  }

  /** What is under the key, borrowed. */
  get(key: Uint8Array): HandlerEntry | undefined {
    const entry = this.#entries[this.#indexOf(key)]
    if (entry === undefined || entry.expiryMs === 0 || entry.expiryMs > this.nowMs) return entry
    return undefined
  }

  /** `expiryMs` 0 is never. A key that expires now or before is deleted. */
  set(key: Uint8Array, value: Uint8Array, expiryMs: number): void {
    const index = this.#indexOf(key)
    const isGone = expiryMs !== 0 && expiryMs <= this.nowMs
    this.#entries[index] = isGone ? undefined : { value, expiryMs }
    this.#changed[index] = true
  }

  /** Another value, the expiry as it was. */
  setValue(key: Uint8Array, value: Uint8Array): void {
    this.set(key, value, this.get(key)?.expiryMs ?? 0)
  }

  /** False when there was nothing. */
  delete(key: Uint8Array): boolean {
    if (this.get(key) === undefined) return false
    const index = this.#indexOf(key)
    this.#entries[index] = undefined
    this.#changed[index] = true
    return true
  }

  /** What was changed, by key. */
  operations(): HandlerOperation[] {
    const operations: HandlerOperation[] = []
    for (const [index, isChanged] of this.#changed.entries()) {
      if (isChanged !== true) continue
      const key = this.#keys[index]!
      const entry = this.#entries[index]
      if (entry === undefined) operations.push({ type: 'del', key })
      else
        operations.push({
          type: 'put',
          key,
          value: entry.value,
          ttlMs: 0,
          expiryMs: entry.expiryMs,
        })
    }
    return operations
  }

  #indexOf(key: Uint8Array): number {
    const keys = this.#keys
    const index =
      this.#indices === undefined
        ? keys.findIndex(other => other === key || equalBytes(other, key))
        : (this.#indices.get(latin1(key)) ?? -1)
    assert(index >= 0, 'a command touches the keys that it named')
    return index
  }
}
