/**
 * Messages with which replicas read for each other; PROTOCOL.md has the grammar. Little-endian,
 * versions as they are stored. Every body begins with the epoch by which its sender goes.
 *
 *   keys       := epoch u64 | count varint | (length varint | user key) * count
 *   marked     := keys | mark u64 * count
 *   versions   := mark u64 and state u8 * (each: 0 absent | 1 version [16] | hash u32 | 2 damaged)
 *   forms      := count varint | state u8 * (each: 0 absent | 1 length varint | stored | 2 damaged)
 *   forwarded  := keys | consistency u8 | largest answer u32 | least versions
 *   least      := 0 | 1 version [16] * count, all zero for none
 *   repair     := epoch u64 | mark u64 | count varint | entry * count
 *   entry      := length varint | user key | length varint | stored
 */
import { ByteReader, ByteWriter, copyBytes, DecodeError, equalBytes, utf8Decode } from '../bytes.ts'
import { ProtocolError } from '../errors.ts'
import { xxh32 } from '../hash.ts'
import type { Consistency } from '../key-value-store.ts'
import { VERSION_SIZE } from '../write-version.ts'
import { engineUserKey, type Partitioner } from './partition.ts'
import type { StoredEntry } from './partitioned-store.ts'
import { storedVersion } from './versioned-value.ts'

const State = { absent: 0, found: 1, damaged: 2 } as const
const CONSISTENCIES: readonly (Consistency | undefined)[] = [undefined, 'one', 'quorum', 'all']

/** What one replica has of one key. */
export type ReplicaForm =
  | { readonly state: 'absent' }
  | { readonly state: 'damaged' }
  | { readonly state: 'found'; readonly stored: Uint8Array }

/** The same, without the value. Two forms of a key with the same digest are the same bytes. */
export type FormDigest = { readonly state: 'absent' } | { readonly state: 'damaged' } | FoundDigest

export interface FoundDigest {
  readonly state: 'found'
  readonly version: Uint8Array
  /** Of the whole stored form. */
  readonly hash: number
}

/** What a replica has, and up to when it had purged the partition of the key when it looked. */
export type MarkedDigest = FormDigest & { readonly markMs: number }

export interface KeysMessage {
  readonly epoch: number
  readonly keys: readonly Uint8Array[]
}

export interface MarkedKeysMessage extends KeysMessage {
  /** By key, up to when its partition is purged for all that the sender knows. */
  readonly marksMs: readonly number[]
}

export interface ForwardedRead extends KeysMessage {
  readonly consistency: Consistency
  readonly bytesMax: number
  /** By key, the least version that the answer may have; undefined for any. */
  readonly least: readonly (Uint8Array | undefined)[] | undefined
}

export interface RepairMessage {
  readonly epoch: number
  /** Up to when whoever had the entries had purged their partitions. */
  readonly markMs: number
  readonly entries: readonly StoredEntry[]
}

/** Runs a decoder; what it cannot read is the peer's fault. */
export function decoded<T>(what: string, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    throw new ProtocolError(`a peer sent no ${what}: ${error.message} at byte ${error.offset}`, {
      cause: error,
    })
  }
}

/** An object that a peer sent as JSON; what is none is the peer's fault. */
export function decodedJson<T extends object>(what: string, body: Uint8Array): T {
  let cause: unknown
  try {
    const found: unknown = JSON.parse(utf8Decode(body))
    if (typeof found === 'object' && found !== null) return found as T
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    cause = error
  }
  throw new ProtocolError(`a peer sent no ${what}: that is not the JSON of an object`, { cause })
}

export function digestOf(form: ReplicaForm): FormDigest {
  return form.state === 'found' ? digestOfStored(form.stored) : form
}

export function digestOfStored(stored: Uint8Array): FoundDigest {
  const hash = xxh32(stored, 0, stored.length, 0)
  return { state: 'found', version: copyBytes(storedVersion(stored)), hash }
}

export function isSameDigest(a: FormDigest, b: FormDigest): boolean {
  if (a.state !== 'found' || b.state !== 'found') return a.state === b.state
  return a.hash === b.hash && equalBytes(a.version, b.version)
}

export function encodeKeys({ epoch, keys }: KeysMessage): Uint8Array {
  const writer = new ByteWriter()
  writeKeys(writer, epoch, keys)
  return writer.written
}

function writeKeys(writer: ByteWriter, epoch: number, keys: readonly Uint8Array[]): void {
  writer.uint64(epoch).varint(keys.length)
  for (const key of keys) writer.lengthPrefixed(key)
}

export function decodeKeys(body: Uint8Array): KeysMessage {
  return decoded('list of keys', () => {
    const reader = new ByteReader(body)
    const message = readKeys(reader)
    reader.expectEnd()
    return message
  })
}

export function encodeMarkedKeys({ epoch, keys, marksMs }: MarkedKeysMessage): Uint8Array {
  const writer = new ByteWriter()
  writeKeys(writer, epoch, keys)
  for (const markMs of marksMs) writer.uint64(markMs)
  return writer.written
}

export function decodeMarkedKeys(body: Uint8Array): MarkedKeysMessage {
  return decoded('list of keys with marks', () => {
    const reader = new ByteReader(body)
    const { epoch, keys } = readKeys(reader)
    const marksMs = keys.map(() => reader.uint64())
    reader.expectEnd()
    return { epoch, keys, marksMs }
  })
}

function readKeys(reader: ByteReader): KeysMessage {
  const epoch = reader.uint64()
  const count = readCount(reader)
  return { epoch, keys: Array.from({ length: count }, () => reader.lengthPrefixed()) }
}

/** Everything counted takes at least a byte, so a count cannot make anybody allocate more. */
function readCount(reader: ByteReader): number {
  const at = reader.offset
  const count = reader.varint()
  if (count > reader.remaining) throw new DecodeError(`a count of ${count} is too high`, at)
  return count
}

export function encodeDigests(digests: readonly MarkedDigest[]): Uint8Array {
  const writer = new ByteWriter(digests.length * (8 + 1 + VERSION_SIZE + 4))
  for (const digest of digests) {
    writer.uint64(digest.markMs).uint8(State[digest.state])
    if (digest.state === 'found') writer.raw(digest.version).uint32(digest.hash)
  }
  return writer.written
}

export function decodeDigests(body: Uint8Array, count: number): MarkedDigest[] {
  return decoded('list of versions', () => {
    const reader = new ByteReader(body)
    const digests = Array.from({ length: count }, (): MarkedDigest => {
      const markMs = reader.uint64()
      const state = readState(reader)
      if (state !== 'found') return { state, markMs }
      return { state, markMs, version: reader.copy(VERSION_SIZE), hash: reader.uint32() }
    })
    reader.expectEnd()
    return digests
  })
}

function readState(reader: ByteReader): keyof typeof State {
  const at = reader.offset
  switch (reader.uint8()) {
    case State.absent:
      return 'absent'
    case State.found:
      return 'found'
    case State.damaged:
      return 'damaged'
    default:
      throw new DecodeError('an unknown state of a key', at)
  }
}

export function encodeForms(forms: readonly ReplicaForm[]): Uint8Array {
  const writer = new ByteWriter()
  writer.varint(forms.length)
  for (const form of forms) {
    writer.uint8(State[form.state])
    if (form.state === 'found') writer.lengthPrefixed(form.stored)
  }
  return writer.written
}

/** At most `countMax`: a replica answers the first of the keys when all are too much at once. */
export function decodeForms(body: Uint8Array, countMax: number): ReplicaForm[] {
  return decoded('list of stored forms', () => {
    const reader = new ByteReader(body)
    const count = readCount(reader)
    if (count < 1 || count > countMax) throw new DecodeError(`${count} forms were not asked for`, 0)
    const forms = Array.from({ length: count }, (): ReplicaForm => {
      const state = readState(reader)
      return state === 'found' ? { state, stored: reader.lengthPrefixed() } : { state }
    })
    reader.expectEnd()
    return forms
  })
}

export function encodeForwarded(read: ForwardedRead): Uint8Array {
  const writer = new ByteWriter()
  writeKeys(writer, read.epoch, read.keys)
  writer.uint8(CONSISTENCIES.indexOf(read.consistency)).uint32(read.bytesMax)
  writer.uint8(read.least === undefined ? 0 : 1)
  for (const version of read.least ?? []) writer.raw(version ?? NO_VERSION)
  return writer.written
}

export function decodeForwarded(body: Uint8Array): ForwardedRead {
  return decoded('forwarded read', () => {
    const reader = new ByteReader(body)
    const { epoch, keys } = readKeys(reader)
    const at = reader.offset
    const consistency = CONSISTENCIES[reader.uint8()]
    if (consistency === undefined) throw new DecodeError('an unknown consistency', at)
    const bytesMax = reader.uint32()
    const hasLeast = reader.uint8() === 1
    const least = hasLeast ? keys.map(() => readLeast(reader)) : undefined
    reader.expectEnd()
    return { epoch, keys, consistency, bytesMax, least }
  })
}

const NO_VERSION = new Uint8Array(VERSION_SIZE)

function readLeast(reader: ByteReader): Uint8Array | undefined {
  const version = reader.copy(VERSION_SIZE)
  return equalBytes(version, NO_VERSION) ? undefined : version
}

/** The answer to a forwarded read: values instead of stored forms. */
export function encodeValues(values: readonly (Uint8Array | undefined)[]): Uint8Array {
  return encodeForms(
    values.map(stored => (stored === undefined ? { state: 'absent' } : { state: 'found', stored })),
  )
}

export function decodeValues(body: Uint8Array, countMax: number): (Uint8Array | undefined)[] {
  return decodeForms(body, countMax).map(form => {
    return form.state === 'found' ? form.stored : undefined
  })
}

export function encodeRepair({ epoch, markMs, entries }: RepairMessage): Uint8Array {
  const writer = new ByteWriter()
  writer.uint64(epoch).uint64(markMs).varint(entries.length)
  for (const { engineKey, stored } of entries) {
    writer.lengthPrefixed(engineUserKey(engineKey)).lengthPrefixed(stored)
  }
  return writer.written
}

/** Keys arrive as users name them, so nobody can reach the node's own records. */
export function decodeRepair(body: Uint8Array, partitioner: Partitioner): RepairMessage {
  return decoded('repair', () => {
    const reader = new ByteReader(body)
    const epoch = reader.uint64()
    const markMs = reader.uint64()
    const count = readCount(reader)
    const entries = Array.from({ length: count }, () => {
      const engineKey = partitioner.engineKey(reader.lengthPrefixed())
      return { engineKey, stored: reader.lengthPrefixed() }
    })
    reader.expectEnd()
    return { epoch, markMs, entries }
  })
}
