/**
 * Messages with which a node scans the partitions of others; PROTOCOL.md has the grammar.
 * Little-endian. `range` is what KeyBounds takes.
 *
 *   open   := epoch u64 | flags u8 | range | cursor, if flags has it | partitions | page size
 *   flags  := 1 reverse | 2 keys only | 4 unordered | 8 with a cursor
 *   range  := lower kind u8 (0 none | 1 gt | 2 gte), and its key | the same of upper (lt, lte)
 *   size   := entries u32 | bytes u32
 *   opened := scan id u32 | page
 *   next   := scan id u32 | size
 *   page   := done u8 | with values u8 | count varint | key * count | value * count, if with values
 *   count  := epoch u64 | range | partitions
 *
 * Keys, values, cursors and partitions stand behind their varint length.
 */
import { ByteReader, ByteWriter, DecodeError } from '../bytes.ts'
import type { UserRange } from './partition.ts'
import { PartitionSet } from './partition-set.ts'
import { decoded } from './read-messages.ts'
import type { ScanPage, ScanRequest } from './scan.ts'

const Flag = { reverse: 1, keysOnly: 2, unordered: 4, cursor: 8 } as const
const FLAGS_KNOWN = Flag.reverse | Flag.keysOnly | Flag.unordered | Flag.cursor

export interface PageSize {
  readonly entriesMax: number
  readonly bytesMax: number
}

export interface OpenMessage extends PageSize {
  readonly epoch: number
  readonly isUnordered: boolean
  readonly request: ScanRequest
  readonly partitions: PartitionSet
}

export interface NextMessage extends PageSize {
  readonly id: number
}

export interface CountMessage {
  readonly epoch: number
  readonly range: UserRange
  readonly partitions: PartitionSet
}

export function encodeOpen(message: OpenMessage): Uint8Array {
  const { epoch, isUnordered, request, partitions, entriesMax, bytesMax } = message
  const { reverse, keysOnly, cursor } = request
  const flags =
    (reverse ? Flag.reverse : 0) |
    (keysOnly ? Flag.keysOnly : 0) |
    (isUnordered ? Flag.unordered : 0) |
    (cursor === undefined ? 0 : Flag.cursor)
  const writer = new ByteWriter().uint64(epoch).uint8(flags)
  writeRange(writer, request)
  if (cursor !== undefined) writer.lengthPrefixed(cursor)
  writer.lengthPrefixed(partitions.encode()).uint32(entriesMax).uint32(bytesMax)
  return writer.written
}

export function decodeOpen(body: Uint8Array, partitionCount: number): OpenMessage {
  return decoded('scan', () => {
    const reader = new ByteReader(body)
    const epoch = reader.uint64()
    const flags = reader.uint8()
    if ((flags & ~FLAGS_KNOWN) !== 0) throw new DecodeError('unknown flags', 8)
    const range = readRange(reader)
    const cursor = (flags & Flag.cursor) === 0 ? undefined : reader.lengthPrefixed()
    const partitions = readPartitions(reader, partitionCount)
    const size = readSize(reader)
    reader.expectEnd()
    const reverse = (flags & Flag.reverse) !== 0
    const keysOnly = (flags & Flag.keysOnly) !== 0
    const request = { ...range, reverse, keysOnly, cursor }
    return { epoch, isUnordered: (flags & Flag.unordered) !== 0, request, partitions, ...size }
  })
}

function readPartitions(reader: ByteReader, partitionCount: number): PartitionSet {
  const at = reader.offset
  const set = PartitionSet.decode(reader.lengthPrefixed(), partitionCount)
  if (set === undefined) throw new DecodeError('no set of partitions of this cluster', at)
  return set
}

function readSize(reader: ByteReader): PageSize {
  return { entriesMax: Math.max(1, reader.uint32()), bytesMax: Math.max(1, reader.uint32()) }
}

export function encodeNext({ id, entriesMax, bytesMax }: NextMessage): Uint8Array {
  return new ByteWriter().uint32(id).uint32(entriesMax).uint32(bytesMax).written
}

export function decodeNext(body: Uint8Array): NextMessage {
  return decoded('request for a page', () => {
    const reader = new ByteReader(body)
    const message = { id: reader.uint32(), ...readSize(reader) }
    reader.expectEnd()
    return message
  })
}

export function encodeClose(id: number): Uint8Array {
  return new ByteWriter().uint32(id).written
}

export function decodeClose(body: Uint8Array): number {
  return decoded('end of a scan', () => new ByteReader(body).uint32())
}

export function encodePage(page: ScanPage, id?: number): Uint8Array {
  const writer = new ByteWriter(4096)
  if (id !== undefined) writer.uint32(id)
  const hasValues = page.values.length > 0
  writer.uint8(Number(page.done)).uint8(Number(hasValues)).varint(page.keys.length)
  for (const key of page.keys) writer.lengthPrefixed(key)
  for (const value of page.values) writer.lengthPrefixed(value)
  return writer.written
}

export function decodeOpened(body: Uint8Array): { readonly id: number; readonly page: ScanPage } {
  return decoded('first page', () => {
    const reader = new ByteReader(body)
    return { id: reader.uint32(), page: readPage(reader) }
  })
}

export function decodePage(body: Uint8Array): ScanPage {
  return decoded('page', () => readPage(new ByteReader(body)))
}

function readPage(reader: ByteReader): ScanPage {
  const done = reader.uint8() === 1
  const hasValues = reader.uint8() === 1
  const at = reader.offset
  const count = reader.varint()
  if (count > reader.remaining) throw new DecodeError(`a count of ${count} is too high`, at)
  const keys = Array.from({ length: count }, () => reader.lengthPrefixed())
  const values = hasValues ? keys.map(() => reader.lengthPrefixed()) : []
  reader.expectEnd()
  return { keys, values, cursor: undefined, done }
}

export function encodeCount({ epoch, range, partitions }: CountMessage): Uint8Array {
  const writer = new ByteWriter().uint64(epoch)
  writeRange(writer, range)
  return writer.lengthPrefixed(partitions.encode()).written
}

export function decodeCount(body: Uint8Array, partitionCount: number): CountMessage {
  return decoded('request to count', () => {
    const reader = new ByteReader(body)
    const epoch = reader.uint64()
    const range = readRange(reader)
    const partitions = readPartitions(reader, partitionCount)
    reader.expectEnd()
    return { epoch, range, partitions }
  })
}

export function encodeCounted(count: number): Uint8Array {
  return new ByteWriter().uint64(count).written
}

export function decodeCounted(body: Uint8Array): number {
  return decoded('count', () => new ByteReader(body).uint64())
}

function writeRange(writer: ByteWriter, { gt, gte, lt, lte }: UserRange): void {
  for (const [exclusive, inclusive] of [
    [gt, gte],
    [lt, lte],
  ]) {
    const key = exclusive ?? inclusive
    if (key === undefined) writer.uint8(0)
    else writer.uint8(exclusive === undefined ? 2 : 1).lengthPrefixed(key)
  }
}

function readRange(reader: ByteReader): UserRange {
  const lower = readBound(reader)
  const upper = readBound(reader)
  return { gt: lower.exclusive, gte: lower.inclusive, lt: upper.exclusive, lte: upper.inclusive }
}

function readBound(reader: ByteReader): {
  readonly exclusive?: Uint8Array
  readonly inclusive?: Uint8Array
} {
  const at = reader.offset
  switch (reader.uint8()) {
    case 0:
      return {}
    case 1:
      return { exclusive: reader.lengthPrefixed() }
    case 2:
      return { inclusive: reader.lengthPrefixed() }
    default:
      throw new DecodeError('an unknown kind of bound', at)
  }
}
