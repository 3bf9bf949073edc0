/**
 * What replicas tell each other of writes: stored forms out, and what became of them back. Used for
 * `replicate`, `hints` and `forwardWrite`, which differ in what is done with them.
 *
 *   entries  := epoch u64 | entry count varint | entry*
 *   entry    := key length varint | engine key | stored length varint | stored form
 *   forward  := consistency u8 | durability u8 | entries      codes as on the client's wire
 *   answer   := status u8 | epoch u64 | pause ms u32 | refused count varint | entry index varint*
 *   status   := 1 applied | 2 stale epoch: the sender's is older | 3 the receiver's is older
 *
 * `applied` is said once all entries but the refused ones are fsynced. Refused ones belong to
 * partitions that the receiver does not own. With the other two statuses nothing was applied.
 * Integers are little-endian. Golden bytes: PROTOCOL.md.
 */
import { ByteReader, ByteWriter, copyBytes, DecodeError } from '../bytes.ts'
import { ProtocolError } from '../errors.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import { PARTITION_SIZE } from './partition.ts'
import type { StoredEntry } from './partitioned-store.ts'

/** Part of the peers' protocol. Append only; never renumber. */
export const ReplicaStatus = { applied: 1, staleEpoch: 2, behind: 3 } as const
export type ReplicaStatus = (typeof ReplicaStatus)[keyof typeof ReplicaStatus]

/** Bytes of a message that entries are put into, but for a single one that is larger. */
export const MESSAGE_SIZE_TARGET = 512 * 1024
/** Entries of a message: what a receiver applies in about a millisecond. */
export const MESSAGE_ENTRIES_MAX = 512
/** Beside keys and stored forms an entry takes so many bytes at most. */
export const ENTRY_OVERHEAD = 8

export interface ReplicaEntries {
  /** Of the ring that the sender goes by. */
  readonly epoch: number
  readonly entries: readonly StoredEntry[]
}

export interface ReplicaAnswer {
  readonly status: ReplicaStatus
  /** Of the ring that the receiver goes by. */
  readonly epoch: number
  /** Milliseconds for which the receiver wants no more of the lane `bulk`. */
  readonly pauseMs: number
  /** Indices of entries that the receiver does not own. */
  readonly refused: readonly number[]
}

export function encodeEntries({ epoch, entries }: ReplicaEntries, writer = sized(entries)) {
  writer.uint64(epoch).varint(entries.length)
  for (const { engineKey, stored } of entries) {
    writer.lengthPrefixed(engineKey).lengthPrefixed(stored)
  }
  return writer.written
}

function sized(entries: readonly StoredEntry[]): ByteWriter {
  let size = 2 * ENTRY_OVERHEAD
  for (const { engineKey, stored } of entries) {
    size += engineKey.length + stored.length + ENTRY_OVERHEAD
  }
  return new ByteWriter(size)
}

/** In a buffer of their own. Throws ProtocolError. */
export function decodeEntries(body: Uint8Array): ReplicaEntries {
  return decoding(body, reader => readEntries(reader))
}

/** What a coordinator that is no replica passes on to one that is. */
export interface ForwardedWrite extends ReplicaEntries {
  readonly consistencyCode: number
  /** 0 leaves it to the receiver. */
  readonly durabilityCode: number
}

export function encodeForward(write: ForwardedWrite): Uint8Array {
  const writer = sized(write.entries)
  writer.uint8(write.consistencyCode).uint8(write.durabilityCode)
  return encodeEntries(write, writer)
}

/** In a buffer of its own. Throws ProtocolError. */
export function decodeForward(body: Uint8Array): ForwardedWrite {
  return decoding(body, reader => {
    const consistencyCode = reader.uint8()
    const durabilityCode = reader.uint8()
    return { consistencyCode, durabilityCode, ...readEntries(reader) }
  })
}

export function encodeAnswer({ status, epoch, pauseMs, refused }: ReplicaAnswer): Uint8Array {
  const writer = new ByteWriter(16 + refused.length)
  writer.uint8(status).uint64(epoch).uint32(Math.ceil(pauseMs)).varint(refused.length)
  for (const index of refused) writer.varint(index)
  return writer.written
}

/** Throws ProtocolError. */
export function decodeAnswer(body: Uint8Array): ReplicaAnswer {
  return decoding(body, reader => {
    const status = reader.uint8()
    if (status !== 1 && status !== 2 && status !== 3) {
      throw new DecodeError(`unknown status ${status}`, 0)
    }
    const epoch = reader.uint64()
    const pauseMs = reader.uint32()
    const count = checkCount(reader, reader.varint(), 1)
    const refused = Array.from({ length: count }, () => reader.varint())
    return { status, epoch, pauseMs, refused }
  })
}

function readEntries(reader: ByteReader): ReplicaEntries {
  const epoch = reader.uint64()
  const count = checkCount(reader, reader.varint(), 2)
  const entries = Array.from({ length: count }, (): StoredEntry => {
    const at = reader.offset
    const engineKey = reader.view(reader.varint())
    if (engineKey.length <= PARTITION_SIZE || engineKey.length > KEY_SIZE_MAX) {
      throw new DecodeError(`an engine key has no ${engineKey.length} bytes`, at)
    }
    return { engineKey, stored: reader.view(reader.varint()) }
  })
  return { epoch, entries }
}

/** Before anything is allocated for them. */
function checkCount(reader: ByteReader, count: number, sizeMin: number): number {
  if (count * sizeMin <= reader.remaining) return count
  throw new DecodeError(`${count} items do not fit ${reader.remaining} bytes`, reader.offset)
}

function decoding<T>(body: Uint8Array, read: (reader: ByteReader) => T): T {
  // One copy: the body is borrowed, and what is read from it are views.
  const reader = new ByteReader(copyBytes(body))
  try {
    const message = read(reader)
    reader.expectEnd()
    return message
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    throw new ProtocolError(`a peer's message about writes cannot be read: ${error.message}`, {
      cause: error,
    })
  }
}
