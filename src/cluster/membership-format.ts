/**
 * Messages of the membership protocol as bytes. All kinds and their answers have one form:
 *
 *   message := form u8 (1) | ring epoch of the sender u64 | claim count u16 | profile count u16
 *            | claim * count | profile * count
 *   claim   := node id [16] | status u8 | incarnation u64 | accuser [16], unless alive
 *   profile := node id [16] | generation u32 | version u32 | ring epoch u64
 *            | client address | peer address | state count u8 | (name u8 | value u64) * count
 *   text    := length u8 | ASCII
 *
 * Integers are little-endian. The first claim of a probe, and of the request for one, is what its
 * sender thinks of the node that is probed; the first one of an answer is what that node says of
 * itself, and an answer without claims is the relay's: it was not reached. States ascend by name.
 */
import { ByteReader, ByteWriter, copyBytes, DecodeError, utf8Decode, utf8Encode } from '../bytes.ts'
import { InvalidArgumentError, ProtocolError } from '../errors.ts'
import { type Claim, type ClaimStatus, GENERATION_MAX, INCARNATION_MAX } from './member-claim.ts'
import { APP_STATES_MAX, type Profile } from './member-profile.ts'
import { checkAddress, NODE_ID_SIZE, type NodeId, nodeIdBytes, nodeIdOf } from './ring-member.ts'

const FORM = 1

/** Part of the wire: append only, never renumber. */
export const STATUS_CODES = { alive: 1, suspect: 2, down: 3 } as const satisfies Record<
  ClaimStatus,
  number
>

/** The most bytes a claim takes. */
export const CLAIM_SIZE_MAX = 2 * NODE_ID_SIZE + 9

export interface MembershipMessage {
  readonly epoch: number
  readonly claims: readonly Claim[]
  readonly profiles: readonly Profile[]
}

/** Bytes that the profile takes. */
export function profileSize({ clientAddress, peerAddress, states }: Profile): number {
  return NODE_ID_SIZE + 19 + clientAddress.length + peerAddress.length + states.size * 9
}

/** The caller's own bytes. */
export function encodeMembership({ epoch, claims, profiles }: MembershipMessage): Uint8Array {
  const writer = new ByteWriter()
  writer.uint8(FORM).uint64(epoch).uint16(claims.length).uint16(profiles.length)
  for (const claim of claims) writeClaim(writer, claim)
  for (const profile of profiles) writeProfile(writer, profile)
  return copyBytes(writer.written)
}

function writeClaim(writer: ByteWriter, { node, status, incarnation, accuser }: Claim): void {
  writer.raw(nodeIdBytes(node)).uint8(STATUS_CODES[status]).uint64(incarnation)
  if (status !== 'alive') writer.raw(nodeIdBytes(accuser))
}

function writeProfile(writer: ByteWriter, profile: Profile): void {
  writer.raw(nodeIdBytes(profile.node)).uint32(profile.generation).uint32(profile.version)
  writer.uint64(profile.epoch)
  for (const text of [profile.clientAddress, profile.peerAddress]) {
    writer.uint8(text.length).raw(utf8Encode(text))
  }
  writer.uint8(profile.states.size)
  const states = [...profile.states].sort(([a], [b]) => a - b)
  for (const [name, value] of states) writer.uint8(name).uint64(value)
}

/** The message that `peer` sent. Throws ProtocolError for anything else. */
export function decodeMembership(bytes: Uint8Array, peer: string): MembershipMessage {
  try {
    return readMessage(new ByteReader(bytes))
  } catch (error) {
    if (!(error instanceof DecodeError || error instanceof InvalidArgumentError)) throw error
    throw new ProtocolError(`${peer} sent what is no message of membership: ${error.message}`, {
      cause: error,
    })
  }
}

function readMessage(reader: ByteReader): MembershipMessage {
  const form = reader.uint8()
  if (form !== FORM) throw new DecodeError(`its form is ${form}, this build knows ${FORM}`, 0)
  const epoch = reader.uint64()
  const claimCount = reader.uint16()
  const profileCount = reader.uint16()
  const claims = Array.from({ length: claimCount }, () => readClaim(reader))
  const profiles = Array.from({ length: profileCount }, () => readProfile(reader))
  reader.expectEnd()
  return { epoch, claims, profiles }
}

function readClaim(reader: ByteReader): Claim {
  const node = readId(reader)
  const status = statusOf(reader.uint8(), reader.offset)
  const incarnation = bounded(reader.uint64(), INCARNATION_MAX, 'an incarnation', reader.offset)
  return { node, status, incarnation, accuser: status === 'alive' ? node : readId(reader) }
}

function statusOf(code: number, offset: number): ClaimStatus {
  for (const status of ['alive', 'suspect', 'down'] as const) {
    if (STATUS_CODES[status] === code) return status
  }
  throw new DecodeError(`${code} is no status`, offset - 1)
}

function readProfile(reader: ByteReader): Profile {
  const node = readId(reader)
  const generation = bounded(reader.uint32(), GENERATION_MAX, 'a generation', reader.offset)
  const version = reader.uint32()
  const epoch = reader.uint64()
  const clientAddress = readAddress(reader)
  const peerAddress = readAddress(reader)
  const count = bounded(reader.uint8(), APP_STATES_MAX, 'a count of states', reader.offset)
  const states = new Map<number, number>()
  for (let index = 0; index < count; index++) states.set(reader.uint8(), reader.uint64())
  return { node, generation, version, epoch, clientAddress, peerAddress, states }
}

function readAddress(reader: ByteReader): string {
  const address = utf8Decode(reader.view(reader.uint8()))
  checkAddress(address)
  return address
}

function readId(reader: ByteReader): NodeId {
  return nodeIdOf(reader.view(NODE_ID_SIZE))
}

function bounded(value: number, max: number, what: string, offset: number): number {
  if (value <= max) return value
  throw new DecodeError(`${what} is at most ${max}, got ${value}`, offset)
}
