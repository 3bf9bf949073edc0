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
 *  2. What is held of the stream, and who pays for it: receive-buffer.ts.
 *  3. No byte is looked at more than twice, however the stream is cut.
 */
import { assert } from '../../assert.ts'
import { OverloadedError } from '../../errors.ts'
import { type ReceiveBudget, ReceiveBuffer } from '../receive-buffer.ts'
import { splitInline } from './inline-arguments.ts'
import { ProtocolViolation } from './protocol-violation.ts'

/** Longer lines, inline commands among them, are refused. */
export const LINE_SIZE_MAX = 64 * 1024
/** More arguments are refused. */
export const ARGUMENTS_MAX = 1024 * 1024
/** The same of a client that has not said its password. */
const STRANGER_ARGUMENTS_MAX = 10
const STRANGER_BULK_SIZE_MAX = 16 * 1024
/** Kept between commands; more are given back. */
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
  /** A gathered command is kept from its first byte on. */
  readonly #input: ReceiveBuffer
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
    this.#input = new ReceiveBuffer(budget)
  }

  /** True while a command has begun and not ended. */
  get incomplete(): boolean {
    return this.#input.incomplete
  }

  /** True when the command at hand stays where it is until the chunk is used up, or kept. */
  get stays(): boolean {
    return !this.#input.handedOut
  }

  /** Bytes pushed and not looked at yet. */
  get pending(): number {
    return this.#input.pending
  }

  /**
   * Adds chunk[0, size), borrowed until `next` has returned false, or until `keep`. Requires that
   * the chunk before was used up.
   */
  push(chunk: Uint8Array, size = chunk.length): void {
    this.#input.push(chunk, size)
  }

  /** See ReceiveBuffer. The command at hand is given up. */
  keep(): boolean {
    return this.#input.keep()
  }

  /** Gives back what is charged to the budget. The decoder is not used after it. */
  dispose(): void {
    this.bytes = NOTHING
    this.#input.dispose()
  }

  /**
   * Moves to the next command. Throws ProtocolViolation for what is none, OverloadedError when
   * there is no memory for it: the rest of the stream means nothing then.
   */
  next(): boolean {
    const input = this.#input
    if (input.handedOut) input.finish()
    for (;;) {
      if (input.length > 0) {
        if (!this.#gather()) return false
      } else if (!this.#nextInChunk()) return false
      // Empty lines and arrays ask for nothing.
      if (this.count > 0) return true
      if (input.handedOut) input.finish()
    }
  }

  #nextInChunk(): boolean {
    const input = this.#input
    const start = input.at
    if (start === input.end) return this.#endOfChunk()
    this.bytes = input.chunk
    this.#begin(start)
    if (this.#parse(start, input.end)) {
      input.at = this.#position
      this.size = this.#position - start
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
    this.#take(this.pending)
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
    const input = this.#input
    while (input.pending > 0) {
      this.#take(this.#wanted(input.length))
      this.bytes = input.gathered
      if (!this.#parse(0, input.length)) continue
      assert(this.#position === input.length, 'nothing behind the command was taken')
      this.size = input.length
      input.handedOut = true
      return true
    }
    return this.#endOfChunk()
  }

  #take(size: number): void {
    if (this.#input.gather(size, this.#limits.commandSizeMax)) return
    throw new OverloadedError('no memory for a command of this size', RETRY_AFTER_MS)
  }

  /** Bytes of the chunk that surely belong to the command in the making; at least 1. */
  #wanted(gathered: number): number {
    const { pending } = this
    if (this.#bulkSize >= 0) {
      return Math.max(1, Math.min(this.#position + this.#bulkSize + 2 - gathered, pending))
    }
    const { gathered: bytes, chunk, at } = this.#input
    const isInline = bytes[0] !== ASTERISK
    // Of the end of a line in an array only the CR is looked at; one byte follows it.
    if (!isInline && this.#searched < gathered && bytes[this.#searched] === CR) return 1
    const lineEnd = chunk.indexOf(isInline ? LF : CR, at)
    if (lineEnd < 0) return pending
    return Math.min(lineEnd + (isInline ? 1 : 2) - at, pending)
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
    if (this.starts.length > PLACES_KEPT_MAX && this.#input.length === 0) {
      this.starts = new Int32Array(16)
      this.ends = new Int32Array(16)
    }
    return this.#input.endOfChunk()
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
