/**
 * A ring as bytes: what a node keeps of it, and what it tells others. The same ring is the same
 * bytes, so rings are compared by them.
 *
 *   ring    := form u8 (1) | phase u8 | replication factor u8 | log2 of the partition count u8
 *            | virtual nodes u16 | member count u16 | removed count u16 | epoch u64
 *            | cluster id [16] | member * count | removed id [16] * count | checksum u32
 *   member  := node id [16] | token id [16] | salt u16 | state u8 | weight u8
 *            | client address | peer address | rack
 *   text    := length u8 | ASCII                      (both addresses and the rack)
 *
 * Integers are little-endian, as on the wire. Members ascend by node id, removed ids ascend. The
 * checksum is xxh32 with seed 0 of all bytes before it. Nothing may follow: what readers must know
 * more of raises the form.
 */
import {
  ByteReader,
  ByteWriter,
  copyBytes,
  DecodeError,
  equalBytes,
  utf8Decode,
  utf8Encode,
} from '../bytes.ts'
import {
  CorruptionError,
  InvalidArgumentError,
  ProtocolError,
  VersionMismatchError,
} from '../errors.ts'
import { xxh32 } from '../hash.ts'
import { createRing, type Ring, type RingPhase } from './ring.ts'
import {
  type MemberState,
  NODE_ID_SIZE,
  type NodeId,
  nodeIdBytes,
  nodeIdOf,
  type RingMember,
} from './ring-member.ts'

const RING_FORM = 1
const CHECKSUM_SIZE = 4

/** Part of the stored form: append only, never renumber. */
export const PHASE_CODES = { stable: 1, readOld: 2, readNew: 3 } as const satisfies Record<
  RingPhase,
  number
>

/** Part of the stored form: append only, never renumber. */
export const STATE_CODES = {
  normal: 1,
  joining: 2,
  leaving: 3,
  removing: 4,
  replaced: 5,
} as const satisfies Record<MemberState, number>

/** Requires a ring of createRing. */
export function encodeRing(ring: Ring): Uint8Array {
  const writer = new ByteWriter()
  writer.uint8(RING_FORM).uint8(PHASE_CODES[ring.phase]).uint8(ring.replicationFactor)
  writer.uint8(Math.log2(ring.partitionCount)).uint16(ring.virtualNodes)
  writer.uint16(ring.members.length).uint16(ring.removedIds.length).uint64(ring.epoch)
  writer.raw(nodeIdBytes(ring.clusterId))
  for (const member of ring.members) encodeMember(writer, member)
  for (const id of ring.removedIds) writer.raw(nodeIdBytes(id))
  const { written } = writer
  writer.uint32(xxh32(written, 0, written.length, 0))
  return copyBytes(writer.written)
}

function encodeMember(writer: ByteWriter, member: RingMember): void {
  writer.raw(nodeIdBytes(member.nodeId)).raw(nodeIdBytes(member.tokenId)).uint16(member.tokenSalt)
  writer.uint8(STATE_CODES[member.state]).uint8(member.weight)
  for (const text of [member.clientAddress, member.peerAddress, member.rack]) {
    writer.uint8(text.length).raw(utf8Encode(text))
  }
}

/** The ring in a record of the node. `path` is the directory, for messages. */
export function decodeRingRecord(bytes: Uint8Array, path: string): Ring {
  try {
    return decodeRing(bytes)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    const place = { path: `${path}/ring record`, offset: error.offset }
    throw new CorruptionError(place, `the ring record is damaged: ${error.message}`, {
      cause: error,
    })
  }
}

/** The ring that another node sent; `peer` names it in messages. */
export function decodeRingMessage(bytes: Uint8Array, peer: string): Ring {
  try {
    return decodeRing(bytes)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    throw new ProtocolError(`${peer} sent what is no ring: ${error.message}`, { cause: error })
  }
}

/** Throws DecodeError for anything but an encoded ring, VersionMismatchError for a newer form. */
function decodeRing(bytes: Uint8Array): Ring {
  const form = bytes[0]
  if (form !== undefined && form > RING_FORM) {
    throw new VersionMismatchError(
      `a ring of form ${form} is newer than this build, which reads up to ${RING_FORM}: upgrade it`,
    )
  }
  if (form !== RING_FORM) throw new DecodeError('it has no form', 0)
  checkChecksum(bytes)
  const reader = new ByteReader(bytes, 1, bytes.length - CHECKSUM_SIZE)
  const fields = readFields(reader)
  reader.expectEnd()
  const ring = checked(fields)
  // One ring has one form of bytes: what is out of order, or text in another guise, is refused.
  if (equalBytes(encodeRing(ring), bytes)) return ring
  throw new DecodeError('it is not in its order', 1)
}

function checkChecksum(bytes: Uint8Array): void {
  const end = bytes.length - CHECKSUM_SIZE
  if (end < 1) throw new DecodeError(`it has ${bytes.length} bytes`, 0)
  const expected = new ByteReader(bytes, end).uint32()
  const actual = xxh32(bytes, 0, end, 0)
  if (expected === actual) return
  throw new DecodeError(`its checksum is ${actual}, it should be ${expected}`, end)
}

function readFields(reader: ByteReader): Ring {
  const phase = nameOf(PHASE_CODES, reader.uint8(), 'phase', reader.offset)
  const replicationFactor = reader.uint8()
  const partitionCount = 2 ** reader.uint8()
  const virtualNodes = reader.uint16()
  const memberCount = reader.uint16()
  const removedCount = reader.uint16()
  const epoch = reader.uint64()
  const clusterId = readId(reader)
  const members = Array.from({ length: memberCount }, () => readMember(reader))
  const removedIds = Array.from({ length: removedCount }, () => readId(reader))
  return {
    epoch,
    clusterId,
    phase,
    partitionCount,
    replicationFactor,
    virtualNodes,
    members,
    removedIds,
  }
}

function readMember(reader: ByteReader): RingMember {
  const nodeId = readId(reader)
  const tokenId = readId(reader)
  const tokenSalt = reader.uint16()
  const state = nameOf(STATE_CODES, reader.uint8(), 'state', reader.offset)
  const weight = reader.uint8()
  const clientAddress = readText(reader)
  const peerAddress = readText(reader)
  const rack = readText(reader)
  return { nodeId, tokenId, tokenSalt, clientAddress, peerAddress, rack, weight, state }
}

function checked(fields: Ring): Ring {
  try {
    return createRing(fields)
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    throw new DecodeError(error.message, 1)
  }
}

function readId(reader: ByteReader): NodeId {
  return nodeIdOf(reader.view(NODE_ID_SIZE))
}

function readText(reader: ByteReader): string {
  return utf8Decode(reader.view(reader.uint8()))
}

function nameOf<Name extends string>(
  codes: Readonly<Record<Name, number>>,
  code: number,
  what: string,
  offset: number,
): Name {
  for (const name of Object.keys(codes) as Name[]) {
    if (codes[name] === code) return name
  }
  throw new DecodeError(`${code} is no ${what}`, offset - 1)
}
