/**
 * Cuts a stream of bytes into commands, as Redis clients send them. No sockets here, so it can be
 * fuzzed.
 *
 *   command := array | inline
 *   array   := '*' count CRLF ( '$' length CRLF bytes[length] CRLF )[count]
 *   inline  := words, separated by blanks, LF or CRLF              (inline-arguments.ts)
 *
 * Limits and error texts are those of Redis 7.0 (networking.c), but for the size of a whole
 * command, which Redis does not limit and we do.
 *
 * Invariants:
 *  1. A length is checked before anything is allocated for it.
 *  2. A command that lies in one chunk is handed out where it lies. Any other is gathered in a
 *     buffer that grows with the bytes that came, never with the bytes that were promised.
 *  3. At most one command is in the making, and its buffer is charged to the budget; so is a copy
 *     of what could not be looked at at once.
 *  4. No byte is looked at more than twice, however the stream is cut.
 */
import { assert } from '../../assert.ts'
import { OverloadedError } from '../../errors.ts'
import type { ReceiveBudget } from '../frame.ts'
import { splitInline } from './inline-arguments.ts'
import { ProtocolViolation } from './protocol-violation.ts'

/** Longer lines, inline commands among them, are refused. */
export const LINE_SIZE_MAX = 64 * 1024
/** More arguments are refused. */
export const ARGUMENTS_MAX = 1024 * 1024
/** The same of a client that has not said its password. */
const STRANGER_ARGUMENTS_MAX = 10
const STRANGER_BULK_SIZE_MAX = 16 * 1024
/** Kept between commands and not charged to the budget; anything larger is given back. */
const GATHER_CAPACITY_MIN = 1024
const PLACES_KEPT_MAX = 1024
const RETRY_AFTER_MS = 100

const CR = 0x0d
const LF = 0x0a
const ASTERISK = 0x2a
const DOLLAR = 0x24
const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39
const NOTHING = new Uint8Array(0)

export interface RespLimits {
  /** Bytes of an argument. */
  readonly bulkSizeMax: number
  /** Bytes of a command, as it is sent. */
  readonly commandSizeMax: number
}

/**
 * `push` a chunk, then call `next` until it says false. The command at hand has `count` arguments,
 * argument i is bytes[starts[i], ends[i]): borrowed until the next call.
 */
export class RespDecoder {
  bytes: Uint8Array = NOTHING
  count = 0
  starts = new Int32Array(16)
  ends = new Int32Array(16)
  /** Bytes of the command as it came. */
  size = 0
  /** True while the client has not said its password: then less is taken from it. */
  isStranger = false
  readonly #limits: RespLimits
  readonly #budget: ReceiveBudget | undefined
  /** The bytes not looked at yet are chunk[at, chunkEnd). */
  #chunk: Uint8Array = NOTHING
  #at = 0
  #chunkEnd = 0
  /** Bytes charged for a chunk that is a copy of our own; 0 when it is lent. */
  #keptSize = 0
  /** The command in the making, from its first byte; empty when there is none. */
  #gathered: Uint8Array = NOTHING
  #gatheredLength = 0
  #reserved = 0
  /** True from handing out a gathered command until the next call. */
  #handedOut = false
  /** How far the command in the making was looked at. */
  #position = 0
  /** How far its present line was searched for the end. */
  #searched = 0
  /** Arguments still to come; -1 while the first line is not complete. */
  #missing = -1
  /** Bytes of the argument that is coming; -1 while its length is not known. */
  #bulkSize = -1

  constructor(limits: RespLimits, budget?: ReceiveBudget) {
    this.#limits = limits
    this.#budget = budget
  }

  /** True while a command has begun and not ended. */
  get incomplete(): boolean {
    return this.#gatheredLength > 0 && !this.#handedOut
  }

  /** True when the command at hand stays where it is until the chunk is used up, or kept. */
  get stays(): boolean {
    return !this.#handedOut
  }

  /** Bytes pushed and not looked at yet. */
  get pending(): number {
    return this.#chunkEnd - this.#at
  }

  /**
   * Adds chunk[0, size), borrowed until `next` has returned false, or until `keep`. Requires that
   * the chunk before was used up.
   */
  push(chunk: Uint8Array, size = chunk.length): void {
    assert(this.pending === 0, 'the previous chunk was used up')
    this.#chunk = chunk
    this.#at = 0
    this.#chunkEnd = size
    this.#releaseKept()
  }

  /**
   * Copies what is left of the chunk, so that whoever lent it has it back. The command at hand is
   * given up. False when the budget does not have the memory; the decoder is useless then.
   */
  keep(): boolean {
    const size = this.pending
    if (this.#keptSize > 0 || size === 0) return true
    if (this.#budget !== undefined && !this.#budget.reserve(size)) return false
    this.#chunk = this.#chunk.slice(this.#at, this.#chunkEnd)
    this.#at = 0
    this.#chunkEnd = this.#keptSize = size
    return true
  }

  /** Gives back what is charged to the budget. The decoder is not used after it. */
  dispose(): void {
    this.bytes = NOTHING
    this.#endOfChunk()
    this.#dropGathered()
  }

  /**
   * Moves to the next command. Throws ProtocolViolation for what is none, OverloadedError when
   * there is no memory for it: the rest of the stream means nothing then.
   */
  next(): boolean {
    if (this.#handedOut) this.#finishGathered()
    for (;;) {
      if (this.#gatheredLength > 0) {
        if (!this.#gather()) return false
      } else if (!this.#nextInChunk()) return false
      // Empty lines and arrays ask for nothing.
      if (this.count > 0) return true
      if (this.#handedOut) this.#finishGathered()
    }
  }

  #nextInChunk(): boolean {
    const start = this.#at
    if (start === this.#chunkEnd) return this.#endOfChunk()
    this.bytes = this.#chunk
    this.#begin(start)
    if (this.#parse(start, this.#chunkEnd)) {
      this.#at = this.#position
      this.size = this.#at - start
      return true
    }
    this.#startGathering(start)
    return false
  }

  #begin(position: number): void {
    this.count = 0
    this.#position = this.#searched = position
    this.#missing = this.#bulkSize = -1
  }

  /** Keeps what came of a command; places are from its first byte on from here. */
  #startGathering(start: number): void {
    const size = this.#chunkEnd - start
    this.#ensureCapacity(size)
    this.#gathered.set(this.#chunk.subarray(start, this.#chunkEnd), 0)
    this.#gatheredLength = size
    this.#position -= start
    this.#searched -= start
    for (let index = 0; index < this.count; index++) {
      this.starts[index]! -= start
      this.ends[index]! -= start
    }
    this.#endOfChunk()
  }

  /** Moves what the chunk has of the command in the making; true when that completes it. */
  #gather(): boolean {
    while (this.pending > 0) {
      const before = this.#gatheredLength
      const size = this.#wanted(before)
      this.#ensureCapacity(before + size)
      this.#gathered.set(this.#chunk.subarray(this.#at, this.#at + size), before)
      this.#at += size
      this.#gatheredLength = before + size
      this.bytes = this.#gathered
      if (!this.#parse(0, this.#gatheredLength)) continue
      assert(this.#position === this.#gatheredLength, 'nothing behind the command was taken')
      this.size = this.#gatheredLength
      this.#handedOut = true
      return true
    }
    return this.#endOfChunk()
  }

  /** Bytes of the chunk that surely belong to the command in the making; at least 1. */
  #wanted(gathered: number): number {
    const { pending } = this
    if (this.#bulkSize >= 0) {
      return Math.max(1, Math.min(this.#position + this.#bulkSize + 2 - gathered, pending))
    }
    const isInline = this.#gathered[0] !== ASTERISK
    // Of the end of a line in an array only the CR is looked at; one byte follows it.
    if (!isInline && this.#searched < gathered && this.#gathered[this.#searched] === CR) return 1
    const lineEnd = this.#chunk.indexOf(isInline ? LF : CR, this.#at)
    if (lineEnd < 0) return pending
    return Math.min(lineEnd + (isInline ? 1 : 2) - this.#at, pending)
  }

  /** Goes on with the command bytes[start, end), which may be cut; true when it is complete. */
  #parse(start: number, end: number): boolean {
    if (this.#missing < 0) {
      if (this.bytes[start] !== ASTERISK) return this.#parseInline(start, end)
      const lineEnd = this.#lineEnd(end, 'too big mbulk count string')
      if (lineEnd < 0) return false
      this.#missing = this.#argumentCount(this.#position + 1, lineEnd)
      this.#position = this.#searched = lineEnd + 2
    }
    while (this.#missing > 0) {
      if (this.#bulkSize < 0) {
        if (this.#position >= end) return false
        const lineEnd = this.#lineEnd(end, 'too big bulk count string')
        if (lineEnd < 0) return false
        this.#bulkSize = this.#argumentSize(this.#position, lineEnd)
        this.#position = lineEnd + 2
        if (this.#position + this.#bulkSize - start > this.#limits.commandSizeMax) {
          const { commandSizeMax } = this.#limits
          throw new ProtocolViolation(`too big command, more than ${commandSizeMax} bytes`)
        }
      }
      const argumentEnd = this.#position + this.#bulkSize
      if (argumentEnd + 2 > end) return false
      this.#addArgument(this.#position, argumentEnd)
      this.#position = this.#searched = argumentEnd + 2
      this.#bulkSize = -1
      this.#missing--
    }
    return true
  }

  /** Where the CR of the present line is, with one more byte behind it; -1: not yet there. */
  #lineEnd(end: number, tooLong: string): number {
    const { bytes } = this
    let at = this.#searched
    while (at < end && bytes[at] !== CR) at++
    this.#searched = at
    if (at + 1 < end) return at
    if (end - this.#position > LINE_SIZE_MAX) throw new ProtocolViolation(tooLong)
    return -1
  }

  #argumentCount(start: number, end: number): number {
    const count = parseLength(this.bytes, start, end)
    if (Number.isNaN(count) || count > ARGUMENTS_MAX) {
      throw new ProtocolViolation('invalid multibulk length')
    }
    if (count > STRANGER_ARGUMENTS_MAX && this.isStranger) {
      throw new ProtocolViolation('unauthenticated multibulk length')
    }
    return Math.max(0, count)
  }

  #argumentSize(start: number, end: number): number {
    const { bytes } = this
    if (bytes[start] !== DOLLAR) {
      throw new ProtocolViolation(`expected '$', got '${String.fromCharCode(bytes[start]!)}'`)
    }
    const size = parseLength(bytes, start + 1, end)
    if (!(size >= 0) || size > this.#limits.bulkSizeMax) {
      throw new ProtocolViolation('invalid bulk length')
    }
    if (size > STRANGER_BULK_SIZE_MAX && this.isStranger) {
      throw new ProtocolViolation('unauthenticated bulk length')
    }
    return size
  }

  #parseInline(start: number, end: number): boolean {
    const { bytes } = this
    let at = this.#searched
    while (at < end && bytes[at] !== LF) at++
    this.#searched = at
    if (at === end) {
      if (end - start > LINE_SIZE_MAX) throw new ProtocolViolation('too big inline request')
      return false
    }
    this.#position = at + 1
    const lineEnd = at > start && bytes[at - 1] === CR ? at - 1 : at
    const words = splitInline(bytes, start, lineEnd)
    if (words === undefined) throw new ProtocolViolation('unbalanced quotes in request')
    // Quoted words are not as they came, so they have memory of their own.
    this.bytes = words.bytes
    for (const [index, wordStart] of words.starts.entries()) {
      this.#addArgument(wordStart, words.ends[index]!)
    }
    return true
  }

  #addArgument(start: number, end: number): void {
    const index = this.count++
    if (index === this.starts.length) this.#growPlaces()
    this.starts[index] = start
    this.ends[index] = end
  }

  #growPlaces(): void {
    const starts = new Int32Array(this.starts.length * 2)
    const ends = new Int32Array(this.ends.length * 2)
    starts.set(this.starts)
    ends.set(this.ends)
    this.starts = starts
    this.ends = ends
  }

  #endOfChunk(): false {
    this.#chunk = NOTHING
    this.#at = this.#chunkEnd = 0
    this.#releaseKept()
    if (this.starts.length > PLACES_KEPT_MAX && this.#gatheredLength === 0) {
      this.starts = new Int32Array(16)
      this.ends = new Int32Array(16)
    }
    return false
  }

  #releaseKept(): void {
    if (this.#keptSize > 0) this.#budget?.release(this.#keptSize)
    this.#keptSize = 0
  }

  #ensureCapacity(needed: number): void {
    const capacity = this.#gathered.length
    if (needed <= capacity) return
    const wanted = Math.max(needed, capacity * 2, GATHER_CAPACITY_MIN)
    if (this.#budget !== undefined && wanted > GATHER_CAPACITY_MIN) {
      if (!this.#budget.reserve(wanted - this.#reserved)) {
        throw new OverloadedError('no memory for a command of this size', RETRY_AFTER_MS)
      }
      this.#reserved = wanted
    }
    const grown = new Uint8Array(wanted)
    grown.set(this.#gathered.subarray(0, this.#gatheredLength))
    this.#gathered = grown
  }

  #finishGathered(): void {
    this.#handedOut = false
    this.#gatheredLength = 0
    if (this.#gathered.length > GATHER_CAPACITY_MIN) this.#dropGathered()
  }

  #dropGathered(): void {
    if (this.#reserved > 0) this.#budget?.release(this.#reserved)
    this.#reserved = 0
    this.#gathered = NOTHING
    this.#gatheredLength = 0
    this.#handedOut = false
  }
}

/** The integer bytes[start, end) as Redis reads one (string2ll): NaN for what is none. */
function parseLength(bytes: Uint8Array, start: number, end: number): number {
  const isNegative = bytes[start] === MINUS && end > start
  let at = isNegative ? start + 1 : start
  if (at >= end || end - at > 19) return Number.NaN
  const first = bytes[at]!
  if (first === ZERO) return end - at === 1 && !isNegative ? 0 : Number.NaN
  let value = 0
  for (; at < end; at++) {
    const digit = bytes[at]!
    if (digit < ZERO || digit > NINE) return Number.NaN
    value = value * 10 + (digit - ZERO)
  }
  return isNegative ? -value : value
}
