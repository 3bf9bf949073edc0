/**
 * Messages with which replicas compare what they hold and even it out; PROTOCOL.md has the grammar.
 * Little-endian, but for what is stored.
 *
 *   roots    := epoch u64 | count varint | (partition u16 | mark u64 | root u32 u32) * count
 *   verdicts := (verdict u8 | mark u64) * count
 *   leaves   := epoch u64 | partition u16 | mark u64 | tree [2048]      answer: leaf set [32]
 *   keys     := epoch u64 | partition u16 | mark u64 | leaf set [32] | after key | up to key
 *             | count varint | (key | version [16] | hash u32) * count
 *   compared := up to key | count varint | index varint * count | count varint | (key | stored) *
 *   push     := epoch u64 | partition u16 | mark u64 | count varint | (key | stored) *
 *
 * Keys and stored forms stand behind their varint length; as a bound an empty key is none.
 */
import { ByteReader, ByteWriter, DecodeError } from '../bytes.ts'
import { VERSION_SIZE } from '../write-version.ts'
import { engineUserKey, type Partitioner } from './partition.ts'
import { LEAF_SET_SIZE, TREE_SIZE, type TreeRoot } from './partition-tree.ts'
import type { StoredEntry } from './partitioned-store.ts'
import { decoded } from './read-messages.ts'

/** What a replica says of a root. Append only; never renumber. */
export const Verdict = {
  equal: 1,
  differs: 2,
  notOwned: 3,
  otherMark: 4,
  /** It lacks some of it, too: what it has it gives once it is whole. */
  unreadable: 5,
  /** It cannot tell now: nothing was compared, and that counts as nothing. */
  busy: 6,
} as const
export type Verdict = (typeof Verdict)[keyof typeof Verdict]

export interface PartitionRoot {
  readonly partition: number
  /** What may be purged: versions before that time, in milliseconds since the Unix epoch. */
  readonly markMs: number
  readonly root: TreeRoot
}

export interface RootVerdict {
  readonly verdict: Verdict
  /** The mark of the replica that answers. */
  readonly markMs: number
}

/** What all messages about one partition begin with. */
export interface PartitionHead {
  readonly epoch: number
  readonly partition: number
  readonly markMs: number
}

/** What one replica has of a key, without the value. */
export interface KeyDigest {
  readonly userKey: Uint8Array
  readonly version: Uint8Array
  readonly hash: number
}

export interface KeysMessage extends PartitionHead {
  readonly leaves: Uint8Array
  readonly after: Uint8Array | undefined
  readonly upTo: Uint8Array | undefined
  /** Everything the sender has in between, in the order of keys. */
  readonly digests: readonly KeyDigest[]
}

export interface ComparedMessage {
  /** How far the replica compared; undefined: as far as it was asked to. */
  readonly upTo: Uint8Array | undefined
  /** Places of the keys that it wants from the sender, ascending. */
  readonly wanted: readonly number[]
  /** What it has and the sender has not, or has older. */
  readonly newer: readonly StoredEntry[]
}

export interface PushMessage extends PartitionHead {
  readonly entries: readonly StoredEntry[]
}

export function encodeRoots(epoch: number, roots: readonly PartitionRoot[]): Uint8Array {
  const writer = new ByteWriter().uint64(epoch).varint(roots.length)
  for (const { partition, markMs, root } of roots) {
    writer.uint16(partition).uint64(markMs).uint32(root[0]).uint32(root[1])
  }
  return writer.written
}

export function decodeRoots(body: Uint8Array): {
  readonly epoch: number
  readonly roots: readonly PartitionRoot[]
} {
  return decoded('list of roots', () => {
    const reader = new ByteReader(body)
    const epoch = reader.uint64()
    const roots = Array.from({ length: readCount(reader) }, (): PartitionRoot => {
      const partition = reader.uint16()
      return { partition, markMs: reader.uint64(), root: [reader.uint32(), reader.uint32()] }
    })
    reader.expectEnd()
    return { epoch, roots }
  })
}

export function encodeVerdicts(verdicts: readonly RootVerdict[]): Uint8Array {
  const writer = new ByteWriter()
  for (const { verdict, markMs } of verdicts) writer.uint8(verdict).uint64(markMs)
  return writer.written
}

export function decodeVerdicts(body: Uint8Array, count: number): RootVerdict[] {
  return decoded('list of verdicts', () => {
    const reader = new ByteReader(body)
    const verdicts = Array.from({ length: count }, () => {
      const at = reader.offset
      const verdict = reader.uint8()
      if (!isVerdict(verdict)) throw new DecodeError('an unknown verdict', at)
      return { verdict, markMs: reader.uint64() }
    })
    reader.expectEnd()
    return verdicts
  })
}

function isVerdict(code: number): code is Verdict {
  return Object.values(Verdict).some(verdict => verdict === code)
}

export function encodeLeaves(head: PartitionHead, tree: Uint8Array): Uint8Array {
  return writeHead(head).raw(tree).written
}

export function decodeLeaves(body: Uint8Array): PartitionHead & { readonly tree: Uint8Array } {
  return decoded('tree', () => {
    const reader = new ByteReader(body)
    const message = { ...readHead(reader), tree: reader.copy(TREE_SIZE) }
    reader.expectEnd()
    return message
  })
}

export function decodeLeafSet(body: Uint8Array): Uint8Array {
  return decoded('set of leaves', () => {
    const reader = new ByteReader(body)
    const leaves = reader.copy(LEAF_SET_SIZE)
    reader.expectEnd()
    return leaves
  })
}

export function encodeKeyDigests(message: KeysMessage): Uint8Array {
  const writer = writeHead(message).raw(message.leaves)
  writeBound(writer, message.after)
  writeBound(writer, message.upTo)
  writer.varint(message.digests.length)
  for (const { userKey, version, hash } of message.digests) {
    writer.lengthPrefixed(userKey).raw(version).uint32(hash)
  }
  return writer.written
}

export function decodeKeyDigests(body: Uint8Array): KeysMessage {
  return decoded('list of keys', () => {
    const reader = new ByteReader(body)
    const head = readHead(reader)
    const leaves = reader.copy(LEAF_SET_SIZE)
    const after = readBound(reader)
    const upTo = readBound(reader)
    const digests = Array.from({ length: readCount(reader) }, () => ({
      userKey: reader.lengthPrefixed(),
      version: reader.copy(VERSION_SIZE),
      hash: reader.uint32(),
    }))
    reader.expectEnd()
    return { ...head, leaves, after, upTo, digests }
  })
}

export function encodeCompared({ upTo, wanted, newer }: ComparedMessage): Uint8Array {
  const writer = new ByteWriter()
  writeBound(writer, upTo)
  writer.varint(wanted.length)
  for (const index of wanted) writer.varint(index)
  writeEntries(writer, newer)
  return writer.written
}

export function decodeCompared(
  body: Uint8Array,
  countMax: number,
  partitioner: Partitioner,
): ComparedMessage {
  return decoded('comparison', () => {
    const reader = new ByteReader(body)
    const upTo = readBound(reader)
    const wanted = Array.from({ length: readCount(reader) }, () => reader.varint())
    if (wanted.some(index => index >= countMax)) throw new DecodeError('a key that was not sent', 0)
    const newer = readEntries(reader, partitioner)
    reader.expectEnd()
    return { upTo, wanted, newer }
  })
}

export function encodePush(message: PushMessage): Uint8Array {
  const writer = writeHead(message)
  writeEntries(writer, message.entries)
  return writer.written
}

export function decodePush(body: Uint8Array, partitioner: Partitioner): PushMessage {
  return decoded('repair', () => {
    const reader = new ByteReader(body)
    const head = readHead(reader)
    const entries = readEntries(reader, partitioner)
    reader.expectEnd()
    return { ...head, entries }
  })
}

function writeHead({ epoch, partition, markMs }: PartitionHead): ByteWriter {
  return new ByteWriter(4096).uint64(epoch).uint16(partition).uint64(markMs)
}

function readHead(reader: ByteReader): PartitionHead {
  return { epoch: reader.uint64(), partition: reader.uint16(), markMs: reader.uint64() }
}

function writeBound(writer: ByteWriter, key: Uint8Array | undefined): void {
  writer.lengthPrefixed(key ?? NO_KEY)
}

function readBound(reader: ByteReader): Uint8Array | undefined {
  const key = reader.lengthPrefixed()
  return key.length === 0 ? undefined : key
}

const NO_KEY = new Uint8Array(0)

function writeEntries(writer: ByteWriter, entries: readonly StoredEntry[]): void {
  writer.varint(entries.length)
  for (const { engineKey, stored } of entries) {
    writer.lengthPrefixed(engineUserKey(engineKey)).lengthPrefixed(stored)
  }
}

/** Keys arrive as users name them, so nobody can reach the node's own records. */
function readEntries(reader: ByteReader, partitioner: Partitioner): StoredEntry[] {
  return Array.from({ length: readCount(reader) }, () => {
    const engineKey = partitioner.engineKey(reader.lengthPrefixed())
    return { engineKey, stored: reader.lengthPrefixed() }
  })
}

/** Everything counted takes at least a byte, so a count cannot make anybody allocate more. */
function readCount(reader: ByteReader): number {
  const at = reader.offset
  const count = reader.varint()
  if (count > reader.remaining) throw new DecodeError(`a count of ${count} is too high`, at)
  return count
}
