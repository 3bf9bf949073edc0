/**
 * The section of a table with its range tombstones, as fragments (range-fragment.ts).
 *
 *   ranges   := fragment count u32 | fragment …
 *   fragment := start | end | sequence count varint | sequence u64 …
 *   start    := shared varint | rest length varint | rest
 *   end      := likewise
 *
 * A key is the first `shared` bytes of the key before it (the end before a start, the start before
 * an end), then `rest`. A start is at least the end before it, an end greater than its start; both
 * have 1 to 65,535 bytes, but an end may have 65,536 bytes of 0xff: behind every key. Sequences
 * fall, and there is at least one.
 */
import { ByteReader, ByteWriter, compareBytes, DecodeError } from '../bytes.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import { END_OF_KEYS, type RangeFragment, type RangeFragments } from './range-fragment.ts'

/** The least bytes that a fragment takes, to bound what a count may claim. */
const FRAGMENT_SIZE_MIN = 14

export function encodeRangeTombstones(fragments: RangeFragments): Uint8Array {
  const writer = new ByteWriter(1024).uint32(fragments.length)
  let previous: Uint8Array = new Uint8Array(0)
  for (const { start, end, sequences } of fragments) {
    encodeKey(writer, start, previous)
    encodeKey(writer, end, start)
    writer.varint(sequences.length)
    for (const sequence of sequences) writer.uint64(sequence)
    previous = end
  }
  return writer.written
}

function encodeKey(writer: ByteWriter, key: Uint8Array, previous: Uint8Array): void {
  const limit = Math.min(previous.length, key.length)
  let shared = 0
  while (shared < limit && key[shared] === previous[shared]) shared++
  writer.varint(shared).lengthPrefixed(key.subarray(shared))
}

/** Reads the section `bytes[start, end)`. Throws DecodeError when it is malformed. */
export function decodeRangeTombstones(
  bytes: Uint8Array,
  start: number,
  end: number,
): RangeFragments {
  const reader = new ByteReader(bytes, start, end)
  const count = reader.uint32()
  if (count < 1 || count > reader.remaining / FRAGMENT_SIZE_MIN) {
    throw new DecodeError(`a section of ${end - start} bytes has no ${count} fragments`, start)
  }
  const fragments: RangeFragment[] = []
  let previous: Uint8Array = new Uint8Array(0)
  for (let index = 0; index < count; index++) {
    const fragment = decodeFragment(reader, previous)
    fragments.push(fragment)
    previous = fragment.end
  }
  reader.expectEnd()
  return fragments
}

function decodeFragment(reader: ByteReader, previous: Uint8Array): RangeFragment {
  const at = reader.offset
  const start = decodeKey(reader, previous)
  const key = decodeKey(reader, start)
  const isLast = key.length > KEY_SIZE_MAX
  const end = isLast ? END_OF_KEYS : key
  const isSound =
    start.length >= 1 &&
    start.length <= KEY_SIZE_MAX &&
    compareBytes(previous, start) <= 0 &&
    compareBytes(start, end) < 0 &&
    (!isLast || compareBytes(key, END_OF_KEYS) === 0)
  if (!isSound) throw new DecodeError('a range is none, or is out of order', at)
  const sequences: number[] = []
  for (let left = reader.varint(); left > 0; left--) {
    const sequence = reader.uint64()
    if (sequence >= (sequences.at(-1) ?? Number.POSITIVE_INFINITY)) {
      throw new DecodeError('the sequences of a range do not fall', at)
    }
    sequences.push(sequence)
  }
  if (sequences.length === 0) throw new DecodeError('a range has no sequence', at)
  return { start, end, sequences }
}

function decodeKey(reader: ByteReader, previous: Uint8Array): Uint8Array {
  const at = reader.offset
  const shared = reader.varint()
  const restLength = reader.varint()
  if (shared > previous.length || shared + restLength > KEY_SIZE_MAX + 1) {
    throw new DecodeError('a bound shares more than there is, or is too long', at)
  }
  // Most neighbours touch: the start is the end before it.
  if (restLength === 0 && shared === previous.length) return previous
  const key = new Uint8Array(shared + restLength)
  key.set(previous.subarray(0, shared))
  key.set(reader.view(restLength), shared)
  return key
}
