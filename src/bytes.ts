/**
 * Byte strings: comparison, varints, and bounds-checked reading and writing of little-endian
 * formats. Nothing here keeps a reference to a buffer it was given.
 *
 * A varint is LEB128 (as in Protocol Buffers and LevelDB): seven bits a byte, low bits first, the
 * high bit set on every byte but the last. Ours stop at five bytes, that is at 2^32 - 1.
 */
import { assert } from './assert.ts'

export const UINT32_MAX = 0xffff_ffff
/** The most bytes a varint of 32 bits takes. */
export const VARINT32_SIZE_MAX = 5

const NO_BYTES = new Uint8Array(0)
const encoder = new TextEncoder()
/** A leading byte order mark is a character like any other: dropping it would change a key. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** The UTF-8 bytes of `text`, in a buffer of their own. */
export function utf8Encode(text: string): Uint8Array {
  return encoder.encode(text)
}

/** `bytes` as text; invalid UTF-8 becomes U+FFFD. */
export function utf8Decode(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

/**
 * Whether these are bytes that can be read: no proxy of any, and not what is left of a Uint8Array
 * whose buffer was transferred, which would pass for an empty one.
 */
export function isBytes(input: unknown): input is Uint8Array {
  if (!(input instanceof Uint8Array && ArrayBuffer.isView(input))) return false
  return input.length > 0 || hasMemory(input)
}

function hasMemory(bytes: Uint8Array): boolean {
  try {
    // Throws without memory, and does nothing else.
    bytes.set(NO_BYTES)
    return true
  } catch {
    return false
  }
}

/** Negative, zero or positive as `a` sorts before, with or after `b` in unsigned byte order. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return compareRanges(a, 0, a.length, b, 0, b.length)
}

/** Compares `a[aStart, aEnd)` with `b[bStart, bEnd)`; see compareBytes. */
export function compareRanges(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const aLength = aEnd - aStart
  const bLength = bEnd - bStart
  const shared = aLength < bLength ? aLength : bLength
  for (let index = 0; index < shared; index++) {
    const difference = a[aStart + index]! - b[bStart + index]!
    if (difference !== 0) return difference
  }
  return aLength - bLength
}

/**
 * `source[start, end)` in a buffer of its own. Use it wherever the source may be a caller's or a
 * socket's: those are often Buffers, and Buffer.slice copies nothing.
 */
export function copyBytes(source: Uint8Array, start = 0, end = source.length): Uint8Array {
  const copy = new Uint8Array(end - start)
  copy.set(start === 0 && end === source.length ? source : source.subarray(start, end))
  return copy
}

/** True when both hold the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0
}

/** The least byte string of at most `sizeMax` bytes above `bytes`; undefined when none is above. */
export function keyAfter(bytes: Uint8Array, sizeMax: number): Uint8Array | undefined {
  if (bytes.length < sizeMax) {
    const next = new Uint8Array(bytes.length + 1)
    next.set(bytes)
    return next
  }
  let length = bytes.length
  while (length > 0 && bytes[length - 1] === 0xff) length--
  if (length === 0) return undefined
  const next = copyBytes(bytes, 0, length)
  next[length - 1]! += 1
  return next
}

/** Bytes that `value` takes as a varint. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x20_0000) return 3
  return value < 0x1000_0000 ? 4 : 5
}

/** Writes `value` at `offset` and returns the offset after it. Requires 0 <= value < 2^32. */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  assert(value >= 0 && value <= UINT32_MAX, 'a varint holds an unsigned 32-bit number')
  let rest = value
  let at = offset
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80
    rest = Math.floor(rest / 128)
  }
  target[at++] = rest
  return at
}

/** The first eight bytes at `offset` as a number, or -1 when it exceeds 2^53 - 1. */
export function readUint64(view: DataView, offset: number): number {
  const high = view.getUint32(offset + 4, true)
  if (high > 0x1f_ffff) return -1
  return high * 0x1_0000_0000 + view.getUint32(offset, true)
}

/** Writes `value` as eight little-endian bytes. Requires an integer in [0, 2^53). */
export function writeUint64(view: DataView, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a stored 64-bit number is a safe integer')
  view.setUint32(offset, value >>> 0, true)
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true)
}

/** Bytes from outside end early or break their format. Callers give it a place and a kind. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError'
  /** Offset in the decoded range at which decoding stopped. */
  readonly offset: number

  constructor(what: string, offset: number) {
    super(what)
    this.offset = offset
  }
}

/** Reads a format front to back. Every method throws DecodeError before it reads past the end. */
export class ByteReader {
  readonly bytes: Uint8Array
  readonly #view: DataView
  readonly #end: number
  #offset: number

  /** Reads `bytes[start, end)`, which it borrows. */
  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    assert(start >= 0 && start <= end && end <= bytes.length, 'the range lies in the buffer')
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#offset = start
    this.#end = end
  }

  get offset(): number {
    return this.#offset
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.#end - this.#offset
  }

  #take(size: number): number {
    if (size > this.#end - this.#offset) {
      throw new DecodeError(
        `needs ${size} bytes, ${this.#end - this.#offset} are left`,
        this.#offset,
      )
    }
    const at = this.#offset
    this.#offset += size
    return at
  }

  uint8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  uint16(): number {
    return this.#view.getUint16(this.#take(2), true)
  }

  uint32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  /** A 64-bit number that must be a safe integer. */
  uint64(): number {
    const at = this.#take(8)
    const value = readUint64(this.#view, at)
    if (value < 0) throw new DecodeError('a 64-bit number exceeds 2^53 - 1', at)
    return value
  }

  varint(): number {
    const start = this.#offset
    let value = 0
    let scale = 1
    for (let size = 1; size <= VARINT32_SIZE_MAX; size++) {
      const byte = this.uint8()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > UINT32_MAX) break
        return value
      }
      scale *= 128
    }
    throw new DecodeError('a varint exceeds 32 bits', start)
  }

  /** Passes over the next `size` bytes and returns where they start, for reading them in place. */
  skip(size: number): number {
    return this.#take(size)
  }

  /** The next `size` bytes, borrowed: a view of the source, valid while the source is. */
  view(size: number): Uint8Array {
    const at = this.#take(size)
    return this.bytes.subarray(at, at + size)
  }

  /** The next `size` bytes in a buffer of their own. */
  copy(size: number): Uint8Array {
    const at = this.#take(size)
    return copyBytes(this.bytes, at, at + size)
  }

  /** A byte string behind its varint length, in a buffer of its own. */
  lengthPrefixed(): Uint8Array {
    return this.copy(this.varint())
  }

  /** Throws unless everything was read. */
  expectEnd(): void {
    if (this.remaining !== 0) {
      throw new DecodeError(`${this.remaining} bytes too many`, this.#offset)
    }
  }
}

/** Builds a format front to back in a buffer that grows. */
export class ByteWriter {
  #bytes: Uint8Array
  #view: DataView
  #length = 0

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity)
    this.#view = new DataView(this.#bytes.buffer)
  }

  get length(): number {
    return this.#length
  }

  /** The bytes written so far, borrowed until the next write or reset. */
  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  reset(): void {
    this.#length = 0
  }

  /** Grows the buffer. Call it before touching #view or #bytes: it may replace both. */
  #reserve(size: number): number {
    const at = this.#length
    const needed = at + size
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, at))
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    this.#length = needed
    return at
  }

  uint8(value: number): this {
    const at = this.#reserve(1)
    this.#view.setUint8(at, value)
    return this
  }

  uint16(value: number): this {
    const at = this.#reserve(2)
    this.#view.setUint16(at, value, true)
    return this
  }

  uint32(value: number): this {
    const at = this.#reserve(4)
    this.#view.setUint32(at, value, true)
    return this
  }

  uint64(value: number): this {
    const at = this.#reserve(8)
    writeUint64(this.#view, at, value)
    return this
  }

  varint(value: number): this {
    const at = this.#reserve(varintSize(value))
    writeVarint(this.#bytes, at, value)
    return this
  }

  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  /** A byte string behind its varint length. */
  lengthPrefixed(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes)
  }

  /** Overwrites four bytes already written, for lengths and checksums known only at the end. */
  setUint32(offset: number, value: number): void {
    assert(offset + 4 <= this.#length, 'only written bytes are overwritten')
    this.#view.setUint32(offset, value, true)
  }
}
