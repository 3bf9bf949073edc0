/**
 * One change of the database's table of contents: tables added and removed, and counters. The
 * MANIFEST is a list of them; its first one holds everything.
 *
 *   edit    := record*
 *   record  := tag u8 | length varint | body[length]
 *   body of features       := u32                       what a reader must understand
 *           databaseId     := [16]
 *           nextFileNumber := u64                       above every number used
 *           lastSequence   := u64                       no table holds a larger one
 *           logNumber      := u64                       the oldest WAL segment still needed
 *           wallMsMax      := u64                       the latest time seen, for expiry
 *           closedWal      := fileNumber u64 | length u64       the last segment at a clean close
 *           addTable       := level u8 | table
 *           addRangeTable  := level u8 | table | rangeTombstoneCount u64
 *           removeTable    := level u8 | fileNumber u64
 *   table   := fileNumber u64 | size u64 | smallestSequence u64 | largestSequence u64
 *              | entryCount u64 | tombstoneCount u64 | expiringCount u64 | expiryMax u64
 *              | rawSize u64 | fileChecksum u32
 *              | smallestKey (varint length, bytes) | largestKey (varint length, bytes)
 *
 * A reader refuses an unknown tag below 128 and skips one from 128 on. Removals apply before
 * additions, so a table that moves to another level is removed and added in one edit.
 */
import { assert } from '../assert.ts'
import { ByteReader, type ByteWriter, compareBytes, DecodeError } from '../bytes.ts'
import { VersionMismatchError } from '../errors.ts'
import { DATABASE_ID_SIZE } from './database-id.ts'
import type { TableMetadata } from './table-metadata.ts'

/** Levels of the tree, 0 included. */
export const LEVEL_COUNT = 7

/** Part of the on-disk format. Append only; never renumber. 0 is never valid. */
const Tag = {
  features: 1,
  databaseId: 2,
  nextFileNumber: 3,
  lastSequence: 4,
  logNumber: 5,
  wallMsMax: 6,
  closedWal: 7,
  addTable: 8,
  removeTable: 9,
  /** A tag of its own, so that a build that knows no range tombstones refuses the edit. */
  addRangeTable: 10,
} as const

/** Tags from here on may be skipped by a reader that does not know them. */
const OPTIONAL_TAG_MIN = 128

/** Features a reader must understand are bits 0 to 15; it may ignore those above. */
const REQUIRED_FEATURES = 0xffff
/** Bits of the features. */
export const Feature = {
  /** Tables may be in a second directory, which COLD names (cold-files.ts). */
  coldDirectory: 1,
} as const
/** What this build understands. */
const KNOWN_FEATURES = Feature.coldDirectory

export interface LeveledTable {
  readonly level: number
  readonly table: TableMetadata
}

export interface RemovedTable {
  readonly level: number
  readonly fileNumber: number
}

export interface ClosedWal {
  readonly fileNumber: number
  /** Bytes of the segment when the database was closed. */
  readonly length: number
}

/** What is absent stays as it was. */
export interface VersionEdit {
  readonly features?: number | undefined
  readonly databaseId?: Uint8Array | undefined
  readonly nextFileNumber?: number | undefined
  readonly lastSequence?: number | undefined
  readonly logNumber?: number | undefined
  /** Milliseconds since the Unix epoch. */
  readonly wallMsMax?: number | undefined
  readonly closedWal?: ClosedWal | undefined
  readonly removed?: readonly RemovedTable[] | undefined
  readonly added?: readonly LeveledTable[] | undefined
}

/** Appends the records of `edit` to `writer`. */
export function encodeVersionEdit(edit: VersionEdit, writer: ByteWriter): void {
  if (edit.features !== undefined) writer.uint8(Tag.features).varint(4).uint32(edit.features)
  if (edit.databaseId !== undefined) {
    assert(edit.databaseId.length === DATABASE_ID_SIZE, 'a database id has 16 bytes')
    writer.uint8(Tag.databaseId).lengthPrefixed(edit.databaseId)
  }
  encodeNumber(writer, Tag.nextFileNumber, edit.nextFileNumber)
  encodeNumber(writer, Tag.lastSequence, edit.lastSequence)
  encodeNumber(writer, Tag.logNumber, edit.logNumber)
  encodeNumber(writer, Tag.wallMsMax, edit.wallMsMax)
  if (edit.closedWal !== undefined) {
    const { fileNumber, length } = edit.closedWal
    writer.uint8(Tag.closedWal).varint(16).uint64(fileNumber).uint64(length)
  }
  for (const { level, fileNumber } of edit.removed ?? []) {
    writer.uint8(Tag.removeTable).varint(9).uint8(level).uint64(fileNumber)
  }
  for (const added of edit.added ?? []) encodeAddTable(writer, added)
}

function encodeNumber(writer: ByteWriter, tag: number, value: number | undefined): void {
  if (value !== undefined) writer.uint8(tag).varint(8).uint64(value)
}

/** Bytes of a table besides its keys and their lengths: nine u64 and the file's checksum. */
const TABLE_NUMBERS_SIZE = 9 * 8 + 4

function encodeAddTable(writer: ByteWriter, { level, table }: LeveledTable): void {
  assert(level >= 0 && level < LEVEL_COUNT, 'the level exists')
  const { smallestKey, largestKey } = table
  const hasRanges = table.rangeTombstoneCount > 0
  const keysSize = lengthPrefixedSize(smallestKey) + lengthPrefixedSize(largestKey)
  const size = 1 + TABLE_NUMBERS_SIZE + keysSize + (hasRanges ? 8 : 0)
  writer
    .uint8(hasRanges ? Tag.addRangeTable : Tag.addTable)
    .varint(size)
    .uint8(level)
  writer.uint64(table.fileNumber).uint64(table.size)
  writer.uint64(table.smallestSequence).uint64(table.largestSequence)
  writer.uint64(table.entryCount).uint64(table.tombstoneCount).uint64(table.expiringCount)
  writer.uint64(table.expiryMax).uint64(table.rawSize).uint32(table.fileChecksum)
  writer.lengthPrefixed(smallestKey).lengthPrefixed(largestKey)
  if (hasRanges) writer.uint64(table.rangeTombstoneCount)
}

function lengthPrefixedSize(bytes: Uint8Array): number {
  return (bytes.length < 0x80 ? 1 : bytes.length < 0x4000 ? 2 : 3) + bytes.length
}

/**
 * Decodes `bytes[start, end)`. Throws DecodeError when they are no edit, VersionMismatchError when
 * they hold what only a newer build understands.
 */
export function decodeVersionEdit(bytes: Uint8Array, start: number, end: number): VersionEdit {
  const reader = new ByteReader(bytes, start, end)
  const edit: MutableEdit = {}
  while (reader.remaining > 0) {
    const at = reader.offset
    const tag = reader.uint8()
    const length = reader.varint()
    if (length > reader.remaining) throw new DecodeError('a record is longer than its edit', at)
    const body = new ByteReader(bytes, reader.offset, reader.offset + length)
    reader.view(length)
    if (tag >= OPTIONAL_TAG_MIN) continue
    decodeRecord(edit, tag, body, at)
    body.expectEnd()
  }
  return edit
}

type MutableEdit = { -readonly [Field in keyof VersionEdit]: VersionEdit[Field] } & {
  added?: LeveledTable[]
  removed?: RemovedTable[]
}

function decodeRecord(edit: MutableEdit, tag: number, body: ByteReader, at: number): void {
  switch (tag) {
    case Tag.features:
      edit.features = body.uint32()
      checkFeatures(edit.features)
      break
    case Tag.databaseId:
      edit.databaseId = body.copy(DATABASE_ID_SIZE)
      break
    case Tag.nextFileNumber:
      edit.nextFileNumber = body.uint64()
      break
    case Tag.lastSequence:
      edit.lastSequence = body.uint64()
      break
    case Tag.logNumber:
      edit.logNumber = body.uint64()
      break
    case Tag.wallMsMax:
      edit.wallMsMax = body.uint64()
      break
    case Tag.closedWal:
      edit.closedWal = { fileNumber: body.uint64(), length: body.uint64() }
      break
    case Tag.addTable:
    case Tag.addRangeTable:
      edit.added ??= []
      edit.added.push(decodeAddTable(body, tag === Tag.addRangeTable, at))
      break
    case Tag.removeTable:
      edit.removed ??= []
      edit.removed.push({ level: decodeLevel(body, at), fileNumber: body.uint64() })
      break
    default:
      if (tag === 0) throw new DecodeError('a record has tag 0', at)
      throw new VersionMismatchError(
        `the MANIFEST holds a record with tag ${tag}, ` +
          'which only a newer version of Duramen understands',
      )
  }
}

function checkFeatures(features: number): void {
  const unknown = features & REQUIRED_FEATURES & ~KNOWN_FEATURES
  if (unknown === 0) return
  throw new VersionMismatchError(
    `the database uses features 0x${unknown.toString(16)}, ` +
      'which only a newer version of Duramen understands',
  )
}

function decodeLevel(body: ByteReader, at: number): number {
  const level = body.uint8()
  if (level >= LEVEL_COUNT) throw new DecodeError(`there is no level ${level}`, at)
  return level
}

function decodeAddTable(body: ByteReader, hasRanges: boolean, at: number): LeveledTable {
  const level = decodeLevel(body, at)
  // In the order of the format: the properties of an object literal are evaluated in turn.
  const table: TableMetadata = {
    fileNumber: body.uint64(),
    size: body.uint64(),
    smallestSequence: body.uint64(),
    largestSequence: body.uint64(),
    entryCount: body.uint64(),
    tombstoneCount: body.uint64(),
    expiringCount: body.uint64(),
    expiryMax: body.uint64(),
    rawSize: body.uint64(),
    fileChecksum: body.uint32(),
    smallestKey: body.lengthPrefixed(),
    largestKey: body.lengthPrefixed(),
    rangeTombstoneCount: hasRanges ? body.uint64() : 0,
  }
  if (table.fileNumber === 0) throw new DecodeError('a table has number 0', at)
  if (compareBytes(table.smallestKey, table.largestKey) > 0) {
    throw new DecodeError('the smallest key of a table is above its largest', at)
  }
  return { level, table }
}
