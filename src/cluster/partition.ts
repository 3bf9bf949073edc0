/**
 * Partitions: the hash space cut into equal, immutable parts, and the engine keys made of them.
 *
 *   partition  := top bits of xxh32(user key, seed 0)
 *   engine key := partition u16, big-endian | user key [1..65,533]
 *   node key   := 1 or 2 bytes
 *
 * Big-endian, so that a partition is one contiguous range of engine keys and partitions lie in
 * the order of their numbers. The width is the same for every partition count.
 *
 * Node keys belong to the node (identity, clock, ring): with the two bytes of a partition and at
 * least one of user key, no user can ever name one. They sort among the partitions, so every range
 * here leaves them out: partition 0x00ff, for example, ends before node key 01, not before 0100.
 */
import { compareBytes, compareRanges, copyBytes } from '../bytes.ts'
import { InvalidArgumentError } from '../errors.ts'
import { xxh32 } from '../hash.ts'
import { SERVER_KEY_SIZE_MAX } from '../key-value-store.ts'
import { type Allocate, allocateAlone } from './byte-slab.ts'

export const PARTITION_COUNT_DEFAULT = 1024
export const PARTITION_COUNT_MAX = 65_536
/** Of a node with peers: the last 32,768 prefixes are then free for records of the node. */
export const PARTITION_COUNT_WITH_PEERS_MAX = 32_768
/** What engine keys of the node's own records about peers begin with. */
export const RECORD_PREFIX = 0xffff
/** Bytes in front of the user key. */
export const PARTITION_SIZE = 2
export const USER_KEY_SIZE_MAX = SERVER_KEY_SIZE_MAX

/** Names of the node's own records. Part of the stored form: append only, never renumber. */
export const NodeKey = {
  identity: 1,
  clock: 2,
  barrier: 3,
  ring: 4,
  peers: 5,
  duties: 6,
  starts: 7,
  proposal: 8,
  purge: 9,
  damaged: 10,
  boots: 11,
} as const
export type NodeKey = (typeof NodeKey)[keyof typeof NodeKey]

export function nodeKey(name: NodeKey): Uint8Array {
  return Uint8Array.of(name)
}

/** Throws InvalidArgumentError unless a power of two from 1 to 65,536. */
export function checkPartitionCount(count: number): number {
  const isPowerOfTwo = Number.isInteger(count) && Number.isInteger(Math.log2(count))
  if (isPowerOfTwo && count <= PARTITION_COUNT_MAX) return count
  throw new InvalidArgumentError(
    `the partition count must be a power of two from 1 to ${PARTITION_COUNT_MAX}, got ${count}`,
  )
}

/** Maps user keys to partitions and engine keys. Pure; the count never changes. */
export class Partitioner {
  readonly count: number
  /** Hashes in a partition. A division, for a shift by 32 bits does nothing in JavaScript. */
  readonly #span: number

  constructor(count: number) {
    this.count = checkPartitionCount(count)
    this.#span = 2 ** 32 / count
  }

  /** What decides about the partition: 32 bits. */
  hash(userKey: Uint8Array): number {
    return xxh32(userKey, 0, userKey.length, 0)
  }

  partitionOf(userKey: Uint8Array, hash = this.hash(userKey)): number {
    return Math.floor(hash / this.#span)
  }

  /** A new buffer. Throws InvalidArgumentError for an empty or too long key. */
  engineKey(userKey: Uint8Array, allocate: Allocate = allocateAlone, hash?: number): Uint8Array {
    const size = userKey.length
    if (size < 1 || size > USER_KEY_SIZE_MAX) {
      throw new InvalidArgumentError(
        `key must have 1 to ${USER_KEY_SIZE_MAX} bytes on a server, got ${size}`,
      )
    }
    return joinEngineKey(this.partitionOf(userKey, hash), userKey, allocate)
  }
}

export function joinEngineKey(
  partition: number,
  userKey: Uint8Array,
  allocate: Allocate = allocateAlone,
): Uint8Array {
  const engineKey = allocate(PARTITION_SIZE + userKey.length)
  engineKey[0] = partition >>> 8
  engineKey[1] = partition
  engineKey.set(userKey, PARTITION_SIZE)
  return engineKey
}

export function isNodeKey(engineKey: Uint8Array): boolean {
  return engineKey.length <= PARTITION_SIZE
}

/** Requires an engine key that is not a node key. */
export function enginePartition(engineKey: Uint8Array): number {
  return engineKey[0]! * 256 + engineKey[1]!
}

/** The user key inside, borrowed. Requires an engine key that is not a node key. */
export function engineUserKey(engineKey: Uint8Array): Uint8Array {
  return engineKey.subarray(PARTITION_SIZE)
}

/** Every engine key of the partition is greater than this. */
export function beforePartition(partition: number): Uint8Array {
  return Uint8Array.of(partition >>> 8, partition)
}

/** Every engine key of the partition is less than this; undefined: nothing comes after it. */
export function afterPartition(partition: number): Uint8Array | undefined {
  const next = partition + 1
  if (next === 0x1_0000) return undefined
  // A whole byte up, the shorter key sorts first: stop before it, for it may be a node key.
  return next % 256 === 0 ? Uint8Array.of(next >>> 8) : Uint8Array.of(next >>> 8, next)
}

/** Bounds on user keys, as requests carry them. */
export interface UserRange {
  readonly gt?: Uint8Array | undefined
  readonly gte?: Uint8Array | undefined
  readonly lt?: Uint8Array | undefined
  readonly lte?: Uint8Array | undefined
}

/** Bounds on engine keys, as the store takes them. */
export type EngineRange = UserRange

interface Bound {
  readonly key: Uint8Array
  readonly inclusive: boolean
}

/** A range of user keys, copied from the request, and what it means within a partition. */
export class KeyBounds {
  readonly #lower: Bound | undefined
  readonly #upper: Bound | undefined

  constructor(range: UserRange) {
    this.#lower = copyBound(range.gt, range.gte, false)
    this.#upper = copyBound(range.lt, range.lte, true)
  }

  /** The range itself, in buffers of its own. */
  toRange(): UserRange {
    const lower = this.#lower
    const upper = this.#upper
    return {
      gt: lower?.inclusive === false ? lower.key : undefined,
      gte: lower?.inclusive === true ? lower.key : undefined,
      lt: upper?.inclusive === false ? upper.key : undefined,
      lte: upper?.inclusive === true ? upper.key : undefined,
    }
  }

  /** True when every user key is inside. */
  get isUnbounded(): boolean {
    return this.#lower === undefined && this.#upper === undefined
  }

  /** True when no user key can be inside. */
  get isEmpty(): boolean {
    const upper = this.#upper
    if (upper === undefined) return false
    if (upper.key.length === 0) return true
    const lower = this.#lower
    if (lower === undefined) return false
    const order = compareBytes(lower.key, upper.key)
    return order > 0 || (order === 0 && !(lower.inclusive && upper.inclusive))
  }

  /**
   * Negative when the user key bytes[start, end) lies before the range, positive when after it,
   * zero inside.
   */
  locate(bytes: Uint8Array, start = 0, end = bytes.length): number {
    const lower = this.#lower
    if (lower !== undefined) {
      const order = compareRanges(bytes, start, end, lower.key, 0, lower.key.length)
      if (order < 0 || (order === 0 && !lower.inclusive)) return -1
    }
    const upper = this.#upper
    if (upper === undefined) return 0
    const order = compareRanges(bytes, start, end, upper.key, 0, upper.key.length)
    return order > 0 || (order === 0 && !upper.inclusive) ? 1 : 0
  }

  lowerIn(partition: number): EngineRange {
    const lower = this.#lower
    if (lower === undefined) return { gt: beforePartition(partition) }
    const key = joinEngineKey(partition, lower.key)
    return lower.inclusive ? { gte: key } : { gt: key }
  }

  upperIn(partition: number): EngineRange {
    const upper = this.#upper
    if (upper === undefined) return { lt: afterPartition(partition) }
    const key = joinEngineKey(partition, upper.key)
    return upper.inclusive ? { lte: key } : { lt: key }
  }
}

function copyBound(
  exclusive: Uint8Array | undefined,
  inclusive: Uint8Array | undefined,
  isUpper: boolean,
): Bound | undefined {
  const key = exclusive ?? inclusive
  if (key === undefined) return undefined
  // No user key is empty, so an empty lower bound bounds nothing; as an engine key it would let a
  // node key in.
  if (key.length === 0 && !isUpper) return undefined
  if (key.length <= USER_KEY_SIZE_MAX)
    return { key: copyBytes(key), inclusive: exclusive === undefined }
  // Longer than any key: what is not greater than its longest possible prefix is less than it.
  return { key: copyBytes(key, 0, USER_KEY_SIZE_MAX), inclusive: isUpper }
}
