/**
 * Builds one data block after another (layout: block-format.ts).
 *
 * Entries are staged until the block is full, because the shared prefix and the width of the
 * sequences are known only then; the size is exact at every moment nevertheless.
 *
 * Invariants:
 *  1. Entries are added in internal order (asserted by the SSTable writer).
 *  2. A block of several entries never exceeds `sizeMax`.
 */
import { assert } from '../assert.ts'
import {
  BASE_SEQUENCE_OFFSET,
  BLOCK_HEADER_SIZE,
  DELTA_WIDTH_MAX,
  DELTA_WIDTH_OFFSET,
  deltaWidth,
  PREFIX_LENGTH_OFFSET,
  RECORD_KIND_OFFSET,
  RECORD_SIZE,
  RECORD_VALUE_OFFSET,
  SHARED_BLOCK_SIZE_MAX,
  VALUES_START_OFFSET,
  writeUintLe,
} from './block-format.ts'
import { copyWords } from './copy-words.ts'

/** Up to here a loop beats making the view that `set` wants. */
const COPY_LOOP_LENGTH_MAX = 48
const ENTRY_COUNT_START = 256

export class BlockBuilder {
  /** The finished block stands in bytes[0, size). Borrowed until the next call. */
  bytes: Uint8Array
  size = 0
  /** Entries staged so far. */
  count = 0
  readonly #sizeMax: number
  readonly #keys: Uint8Array
  readonly #values: Uint8Array
  readonly #valueWords: Uint32Array
  /** By entry: where its key and value end in the staging areas, sequence, kind, fingerprint. */
  #keyEnds = new Uint32Array(ENTRY_COUNT_START)
  #valueEnds = new Uint32Array(ENTRY_COUNT_START)
  #sequences = new Float64Array(ENTRY_COUNT_START)
  #kinds = new Uint8Array(ENTRY_COUNT_START)
  #fingerprints = new Uint8Array(ENTRY_COUNT_START)
  #keysSize = 0
  #valuesSize = 0
  #prefixLength = 0
  #sequenceMin = 0
  #sequenceMax = 0

  /** `sizeMax` limits blocks of several entries, 64 KiB less a byte at most. */
  constructor(sizeMax: number) {
    assert(sizeMax >= BLOCK_HEADER_SIZE, 'a block has room for its header')
    this.#sizeMax = Math.min(sizeMax, SHARED_BLOCK_SIZE_MAX)
    this.bytes = new Uint8Array(this.#sizeMax)
    this.#values = new Uint8Array(this.#sizeMax)
    this.#valueWords = new Uint32Array(this.#values.buffer, 0, this.#sizeMax >>> 2)
    // Keys are staged whole: each can be as long as the block, but shared prefixes count once in
    // the block and every time here. Bounded so that an entry that fits also stages.
    this.#keys = new Uint8Array(this.#sizeMax * 4)
  }

  /**
   * Stages the entry and returns true, or returns false when the block cannot take it. Then the
   * caller finishes the block and tries again; an empty block that refuses needs `buildAlone`.
   */
  tryAdd(
    fingerprint: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    kind: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): boolean {
    const count = this.count
    const keyLength = keyEnd - keyStart
    const keys = this.#keys
    let prefixLength = keyLength
    let sequenceMin = sequence
    let sequenceMax = sequence
    if (count > 0) {
      if (this.#prefixLength < prefixLength) prefixLength = this.#prefixLength
      let shared = 0
      while (shared < prefixLength && keys[shared] === key[keyStart + shared]) shared++
      prefixLength = shared
      if (this.#sequenceMin < sequence) sequenceMin = this.#sequenceMin
      if (this.#sequenceMax > sequence) sequenceMax = this.#sequenceMax
    }
    const keysSize = this.#keysSize + keyLength
    const valuesSize = this.#valuesSize + valueEnd - valueStart
    const recordSize = 1 + RECORD_SIZE + deltaWidth(sequenceMax - sequenceMin)
    const size =
      BLOCK_HEADER_SIZE +
      (count + 1) * recordSize +
      prefixLength +
      (keysSize - (count + 1) * prefixLength) +
      valuesSize
    if (size > this.#sizeMax || keysSize > keys.length) return false
    if (count === this.#kinds.length) this.#growRecords()
    copy(key, keyStart, keyEnd, keys, this.#keysSize)
    copyWords(value, valueStart, valueEnd, this.#values, this.#valueWords, this.#valuesSize)
    this.#keyEnds[count] = keysSize
    this.#valueEnds[count] = valuesSize
    this.#sequences[count] = sequence
    this.#kinds[count] = kind
    this.#fingerprints[count] = fingerprint
    this.#keysSize = keysSize
    this.#valuesSize = valuesSize
    this.#prefixLength = prefixLength
    this.#sequenceMin = sequenceMin
    this.#sequenceMax = sequenceMax
    this.count = count + 1
    return true
  }

  /** Writes the staged entries as a block into `bytes[0, size)` and begins the next. */
  finish(): void {
    const count = this.count
    assert(count > 0, 'a block has entries')
    const bytes = this.bytes
    const prefixLength = this.#prefixLength
    const width = deltaWidth(this.#sequenceMax - this.#sequenceMin)
    const stride = RECORD_SIZE + width
    const suffixesSize = this.#keysSize - count * prefixLength
    const records = BLOCK_HEADER_SIZE + count
    const prefix = records + count * stride
    const suffixes = prefix + prefixLength
    const values = suffixes + suffixesSize
    this.#writeHeader(bytes, count, prefixLength, width, values)
    bytes.set(this.#fingerprints.subarray(0, count), BLOCK_HEADER_SIZE)
    copy(this.#keys, 0, prefixLength, bytes, prefix)
    let keyStart = 0
    let valueStart = 0
    let at = records
    let suffix = suffixes
    for (let index = 0; index < count; index++) {
      const suffixStart = suffix - suffixes
      bytes[at] = suffixStart
      bytes[at + 1] = suffixStart >>> 8
      bytes[at + RECORD_VALUE_OFFSET] = valueStart
      bytes[at + RECORD_VALUE_OFFSET + 1] = valueStart >>> 8
      bytes[at + RECORD_KIND_OFFSET] = this.#kinds[index]!
      writeUintLe(bytes, at + RECORD_SIZE, width, this.#sequences[index]! - this.#sequenceMin)
      const keyEnd = this.#keyEnds[index]!
      copy(this.#keys, keyStart + prefixLength, keyEnd, bytes, suffix)
      suffix += keyEnd - keyStart - prefixLength
      keyStart = keyEnd
      valueStart = this.#valueEnds[index]!
      at += stride
    }
    bytes.set(this.#values.subarray(0, this.#valuesSize), values)
    this.size = values + this.#valuesSize
    this.count = 0
    this.#keysSize = 0
    this.#valuesSize = 0
  }

  /** Writes a block of just this entry, whatever its size. Requires that none is staged. */
  buildAlone(
    fingerprint: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    kind: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    assert(this.count === 0, 'a big entry has a block of its own')
    const prefix = BLOCK_HEADER_SIZE + 1 + RECORD_SIZE
    const values = prefix + keyEnd - keyStart
    const size = values + valueEnd - valueStart
    const bytes = size <= this.bytes.length ? this.bytes : new Uint8Array(size)
    this.#sequenceMin = sequence
    this.#writeHeader(bytes, 1, keyEnd - keyStart, 0, values)
    bytes[BLOCK_HEADER_SIZE] = fingerprint
    bytes.fill(0, BLOCK_HEADER_SIZE + 1, prefix)
    bytes[BLOCK_HEADER_SIZE + 1 + RECORD_KIND_OFFSET] = kind
    copy(key, keyStart, keyEnd, bytes, prefix)
    copy(value, valueStart, valueEnd, bytes, values)
    this.bytes = bytes
    this.size = size
  }

  /** Lets go of a buffer that one big entry needed. */
  shrink(): void {
    if (this.bytes.length > this.#sizeMax) this.bytes = new Uint8Array(this.#sizeMax)
  }

  #writeHeader(
    bytes: Uint8Array,
    count: number,
    prefixLength: number,
    width: number,
    values: number,
  ): void {
    writeUintLe(bytes, 0, 2, count)
    writeUintLe(bytes, PREFIX_LENGTH_OFFSET, 2, prefixLength)
    bytes[DELTA_WIDTH_OFFSET] = width
    writeUintLe(bytes, BASE_SEQUENCE_OFFSET, DELTA_WIDTH_MAX, this.#sequenceMin)
    writeUintLe(bytes, VALUES_START_OFFSET, 4, values)
  }

  #growRecords(): void {
    this.#keyEnds = doubled(this.#keyEnds, new Uint32Array(this.count * 2))
    this.#valueEnds = doubled(this.#valueEnds, new Uint32Array(this.count * 2))
    this.#sequences = doubled(this.#sequences, new Float64Array(this.count * 2))
    this.#kinds = doubled(this.#kinds, new Uint8Array(this.count * 2))
    this.#fingerprints = doubled(this.#fingerprints, new Uint8Array(this.count * 2))
  }
}

function doubled<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from)
  return to
}

/** Copies `source[start, end)` to `target` at `at`. */
function copy(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): void {
  if (end - start > COPY_LOOP_LENGTH_MAX) {
    target.set(source.subarray(start, end), at)
    return
  }
  for (let from = start, to = at; from < end; from++, to++) target[to] = source[from]!
}
