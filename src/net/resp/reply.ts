/**
 * Replies, as commands give them, and how they are encoded in both versions of the protocol:
 *
 *   number, bigint   :1              null          $-1 (2)   _ (3)
 *   bytes, text      $5 hello        Status        +OK
 *   array            *2 ...          CommandError  -ERR ...
 *   ReplyMap         *4 k v k v (2)  %2 k v k v (3)
 *   ReplySet         *2 ...     (2)  ~2 ...     (3)
 *   Verbatim         $5 hello   (2)  =9 txt:hello (3)
 *
 * Text is bulk text of one byte a character.
 */
import type { OutputBuffer } from '../output-buffer.ts'
import { fromLatin1 } from './characters.ts'

export type RespVersion = 2 | 3

export type Reply =
  | number
  | bigint
  | string
  | Uint8Array
  | null
  | Status
  | CommandError
  | ReplyMap
  | ReplySet
  | Verbatim
  | NilArray
  | readonly Reply[]

/** A simple string: one line. */
export class Status {
  readonly line: Uint8Array

  constructor(text: string) {
    this.line = fromLatin1(`+${text}\r\n`)
  }
}

/** An error of a command, thrown or given as a reply. The text begins with a code, as 'ERR'. */
export class CommandError extends Error {
  override readonly name = 'CommandError'

  get encoded(): Uint8Array {
    return fromLatin1(`-${this.message.replace(/[\r\n]/g, ' ')}\r\n`)
  }
}

export class ReplyMap {
  readonly pairs: readonly (readonly [Reply, Reply])[]

  constructor(pairs: readonly (readonly [Reply, Reply])[]) {
    this.pairs = pairs
  }
}

export class ReplySet {
  readonly members: readonly Reply[]

  constructor(members: readonly Reply[]) {
    this.members = members
  }
}

/** Text for people. */
export class Verbatim {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** An array that is not there: `*-1` in version 2. */
export class NilArray {
  readonly isNil = true
}

export const OK = new Status('OK')
export const QUEUED = new Status('QUEUED')
const NIL_2 = fromLatin1('$-1\r\n')
const NIL_ARRAY_2 = fromLatin1('*-1\r\n')
const NIL_3 = fromLatin1('_\r\n')

const CR = 0x0d
const LF = 0x0a
const COLON = 0x3a
const DOLLAR = 0x24
const ZERO = 0x30
/** A byte, digits, CRLF. */
const HEADER_SIZE_MAX = 24

export function encodeReply(output: OutputBuffer, reply: Reply, version: RespVersion): void {
  if (reply instanceof Uint8Array) encodeBulk(output, reply)
  else if (reply instanceof Status) encodeLine(output, reply.line)
  else if (typeof reply === 'number') encodeInteger(output, reply)
  else if (reply === null) encodeLine(output, version === 2 ? NIL_2 : NIL_3)
  else encodeRare(output, reply, version)
}

function encodeRare(
  output: OutputBuffer,
  reply: Exclude<Reply, number | Uint8Array | Status | null>,
  version: RespVersion,
): void {
  if (typeof reply === 'string') encodeBulk(output, fromLatin1(reply))
  else if (typeof reply === 'bigint') encodeLine(output, fromLatin1(`:${reply}\r\n`))
  else if (reply instanceof CommandError) encodeLine(output, reply.encoded)
  else if (reply instanceof NilArray) encodeLine(output, version === 2 ? NIL_ARRAY_2 : NIL_3)
  else if (reply instanceof Verbatim) encodeVerbatim(output, reply.text, version)
  else if (reply instanceof ReplyMap) {
    const [type, count] = version === 2 ? ['*', reply.pairs.length * 2] : ['%', reply.pairs.length]
    encodeLine(output, fromLatin1(`${type}${count}\r\n`))
    for (const [name, value] of reply.pairs) {
      encodeReply(output, name, version)
      encodeReply(output, value, version)
    }
  } else if (reply instanceof ReplySet) {
    encodeLine(output, fromLatin1(`${version === 2 ? '*' : '~'}${reply.members.length}\r\n`))
    for (const member of reply.members) encodeReply(output, member, version)
  } else {
    encodeLine(output, fromLatin1(`*${reply.length}\r\n`))
    for (const member of reply) encodeReply(output, member, version)
  }
}

function encodeLine(output: OutputBuffer, line: Uint8Array): void {
  const at = output.reserve(line.length)
  const { bytes } = output
  for (let index = 0; index < line.length; index++) bytes[at + index] = line[index]!
}

function encodeVerbatim(output: OutputBuffer, text: string, version: RespVersion): void {
  if (version === 2) {
    encodeBulk(output, fromLatin1(text))
    return
  }
  encodeLine(output, fromLatin1(`=${text.length + 4}\r\ntxt:${text}\r\n`))
}

function encodeBulk(output: OutputBuffer, bulk: Uint8Array): void {
  const { length } = bulk
  const start = output.reserve(HEADER_SIZE_MAX + length + 2)
  const { bytes } = output
  let at = writeHeader(bytes, start, DOLLAR, length)
  bytes.set(bulk, at)
  at += length
  bytes[at] = CR
  bytes[at + 1] = LF
  output.truncate(at + 2)
}

function encodeInteger(output: OutputBuffer, value: number): void {
  if (value < 0) {
    encodeLine(output, fromLatin1(`:${value}\r\n`))
    return
  }
  const start = output.reserve(HEADER_SIZE_MAX)
  output.truncate(writeHeader(output.bytes, start, COLON, value))
}

/** Writes a type, a natural number and CRLF, and returns where it ends. */
function writeHeader(bytes: Uint8Array, start: number, type: number, value: number): number {
  bytes[start] = type
  let digits = 1
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++
  let rest = value
  for (let at = start + digits; at > start; at--) {
    const next = Math.floor(rest / 10)
    bytes[at] = ZERO + (rest - next * 10)
    rest = next
  }
  bytes[start + digits + 1] = CR
  bytes[start + digits + 2] = LF
  return start + digits + 3
}

/** What is replied instead of a reply that no client may have. */
export function tooMuch(bytesMax: number): CommandError {
  return new CommandError(
    `ERR the values are too much for one reply, which has at most ${bytesMax} bytes: ask for fewer`,
  )
}

/** About the bytes that a reply takes, for budgets; no more of it is looked at than `enough`. */
export function replySize(reply: Reply, enough = Number.POSITIVE_INFINITY): number {
  if (reply instanceof Uint8Array || typeof reply === 'string') return reply.length + 16
  if (Array.isArray(reply)) return sizeOfAll(reply as readonly Reply[], enough)
  if (reply instanceof ReplyMap) return sizeOfAll(reply.pairs, enough)
  if (reply instanceof ReplySet) return sizeOfAll(reply.members, enough)
  return reply instanceof Verbatim ? reply.text.length + 16 : 64
}

function sizeOfAll(replies: readonly Reply[], enough: number): number {
  let size = 16
  for (const reply of replies) {
    if (size > enough) return size
    size += replySize(reply, enough)
  }
  return size
}
