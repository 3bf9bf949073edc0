/**
 * Finds the last of several equal keys, in one pass and without an object for each key: a table of
 * indices, open to the next slot when one is taken.
 *
 * Keys come from clients, who could choose them so that their hashes collide. When the table has
 * to look further than chance explains, a Map, whose hashes nobody can foresee, does the work.
 */
import { assert } from '../assert.ts'
import { compareBytes } from '../bytes.ts'
import { xxh32 } from '../hash.ts'

/** Steps beyond the first slot that a key takes on average, at most; chance makes it about 0.5. */
const STEPS_PER_KEY_MAX = 8

export type KeyHash = (key: Uint8Array) => number

/** The index of the last occurrence of each key, ascending; undefined when no key repeats. */
export function lastOfKeys(
  keys: readonly Uint8Array[],
  hash: KeyHash = hashOf,
): number[] | undefined {
  if (keys.length < 2) return undefined
  const mask = 2 ** Math.ceil(Math.log2(2 * keys.length)) - 1
  /** Indices, counted from 1; 0 is a free slot. */
  const table = new Int32Array(mask + 1)
  let stepsLeft = STEPS_PER_KEY_MAX * keys.length
  let repeats = 0
  for (const [index, key] of keys.entries()) {
    let slot = hash(key) & mask
    for (let taken = table[slot]!; taken !== 0; taken = table[slot]!) {
      if (compareBytes(keys[taken - 1]!, key) === 0) {
        repeats++
        break
      }
      if (--stepsLeft < 0) return lastByName(keys)
      slot = (slot + 1) & mask
    }
    table[slot] = index + 1
  }
  if (repeats === 0) return undefined
  const last = Array.from(
    table.filter(taken => taken !== 0),
    taken => taken - 1,
  )
  assert(last.length === keys.length - repeats, 'each key has one slot')
  return last.sort((a, b) => a - b)
}

/** One character a byte: a key as something that a Map compares by content. */
export function keyName(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}

function lastByName(keys: readonly Uint8Array[]): number[] | undefined {
  const last = new Map<string, number>()
  for (const [index, key] of keys.entries()) last.set(keyName(key), index)
  if (last.size === keys.length) return undefined
  return [...last.values()].sort((a, b) => a - b)
}

function hashOf(key: Uint8Array): number {
  return xxh32(key, 0, key.length, 0)
}
