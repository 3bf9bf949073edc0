/**
 * Hints as records of the node: that a peer is owed the newest stored form of a key, whatever that
 * is by the time the peer returns. The record says no more, so that writing a key again and again
 * leaves one hint. A dirty mark says the same of a whole partition: only a comparison of all of it
 * tells what the peer lacks.
 *
 *   hint       := ffff | 01 | peer number u16 | engine key        -> empty
 *   dirty mark := ffff | 02 | peer number u16 | partition u16     -> empty
 *
 * Big-endian, so that a peer's hints are one range, in the order of partitions. No partition is
 * numbered 0xffff on a node with peers (PARTITION_COUNT_WITH_PEERS_MAX).
 */
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import { RECORD_PREFIX } from './partition.ts'

/** Part of the stored form. Append only; never renumber. */
const RecordKind = { hint: 1, dirty: 2 } as const
type RecordKind = (typeof RecordKind)[keyof typeof RecordKind]

const KIND_OFFSET = 2
const PEER_OFFSET = 3
export const HINT_HEADER_SIZE = 5
/** Engine keys up to this many bytes have hints. */
export const HINTED_KEY_SIZE_MAX = KEY_SIZE_MAX - HINT_HEADER_SIZE

/** Requires an engine key of at most HINTED_KEY_SIZE_MAX bytes. */
export function hintKey(peer: number, engineKey: Uint8Array): Uint8Array {
  const key = new Uint8Array(HINT_HEADER_SIZE + engineKey.length)
  writeHeader(key, RecordKind.hint, peer)
  key.set(engineKey, HINT_HEADER_SIZE)
  return key
}

/** The engine key that a hint is for, borrowed. */
export function hintedKey(key: Uint8Array): Uint8Array {
  return key.subarray(HINT_HEADER_SIZE)
}

export function dirtyKey(peer: number, partition: number): Uint8Array {
  const key = new Uint8Array(HINT_HEADER_SIZE + 2)
  writeHeader(key, RecordKind.dirty, peer)
  key[HINT_HEADER_SIZE] = partition >>> 8
  key[HINT_HEADER_SIZE + 1] = partition
  return key
}

/** The partition of a dirty mark. */
export function dirtyPartition(key: Uint8Array): number {
  return key[HINT_HEADER_SIZE]! * 256 + key[HINT_HEADER_SIZE + 1]!
}

/** The peer that a hint or a dirty mark is about. */
export function hintedPeer(key: Uint8Array): number {
  return key[PEER_OFFSET]! * 256 + key[PEER_OFFSET + 1]!
}

export interface RecordRange {
  readonly gte: Uint8Array
  readonly lt: Uint8Array
}

/** All hints of the peer. Requires a number below PEER_NUMBERS_MAX. */
export function hintRange(peer: number): RecordRange {
  return { gte: header(RecordKind.hint, peer), lt: header(RecordKind.hint, peer + 1) }
}

/** All dirty marks of all peers. */
export function dirtyRange(): RecordRange {
  return { gte: header(RecordKind.dirty, 0), lt: header(RecordKind.dirty, 0xffff) }
}

function header(kind: RecordKind, peer: number): Uint8Array {
  const key = new Uint8Array(HINT_HEADER_SIZE)
  writeHeader(key, kind, peer)
  return key
}

function writeHeader(key: Uint8Array, kind: RecordKind, peer: number): void {
  key[0] = RECORD_PREFIX >>> 8
  key[1] = RECORD_PREFIX & 0xff
  key[KIND_OFFSET] = kind
  key[PEER_OFFSET] = peer >>> 8
  key[PEER_OFFSET + 1] = peer
}
