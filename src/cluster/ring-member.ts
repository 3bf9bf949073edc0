/**
 * A member of the ring: who it is, where it can be reached, how much it takes, and which of the two
 * generations of owners it belongs to while ownership changes.
 *
 *   state      owns before  owns after   what it is
 *   normal     yes          yes          takes part, no change is under way for it
 *   joining    no           yes          takes writes, is filled, answers no reads yet
 *   leaving    yes          no           alive, hands its partitions over
 *   removing   yes          no           gone for good; the others fill each other
 *   replaced   yes          no           gone for good; a joining member takes its tokens
 *
 * A member is its node id: 128 random bits that lie with the data. Addresses are attributes, so a
 * node may move, and another node at an old address is another member.
 */
import { InvalidArgumentError } from '../errors.ts'

/** 128 bits as 32 lowercase hexadecimal digits: immutable, and in the order of their bytes. */
export type NodeId = string

export type MemberState = 'normal' | 'joining' | 'leaving' | 'removing' | 'replaced'

export const NODE_ID_SIZE = 16
/** At most so many times the tokens of the smallest member. */
export const WEIGHT_MAX = 64
export const TOKEN_SALT_MAX = 0xffff
export const ADDRESS_LENGTH_MAX = 255
export const RACK_LENGTH_MAX = 64

const CODE_OF_0 = 0x30
const CODE_OF_9 = 0x39
const CODE_OF_A = 0x61

/** Immutable. */
export interface RingMember {
  readonly nodeId: NodeId
  /** Whose tokens it has: its own id's, or those of the member that it replaced. */
  readonly tokenId: NodeId
  /** Which of the possible sets of tokens of that id; chosen once, for balance (token-salt.ts). */
  readonly tokenSalt: number
  /** `host:port` for clients, empty when it has no such door. */
  readonly clientAddress: string
  /** `host:port` for the other members, empty when it has no such door. */
  readonly peerAddress: string
  /** What fails together; members without one, '', count as one rack. */
  readonly rack: string
  /** Its share in relation to that of others: an integer from 1 to 64. */
  readonly weight: number
  readonly state: MemberState
}

/** What a new member brings; the rest follows from how it comes. */
export interface NewMember {
  readonly nodeId: NodeId
  readonly clientAddress: string
  readonly peerAddress: string
  /** @defaultValue '' */
  readonly rack?: string
  /** @defaultValue 1 */
  readonly weight?: number
}

/** True when it owns partitions in the generation that the change under way ends. */
export function ownsBefore(member: Pick<RingMember, 'state'>): boolean {
  return member.state !== 'joining'
}

/** True when it owns partitions in the generation that the change under way brings. */
export function ownsAfter(member: RingMember): boolean {
  return member.state === 'normal' || member.state === 'joining'
}

export function isNodeId(id: string): boolean {
  return /^[0-9a-f]{32}$/.test(id)
}

/** Gossip is full of ids; formatting each byte anew would take longer than all the rest of it. */
const HEX_OF_BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** The node id that 16 bytes are. */
export function nodeIdOf(bytes: Uint8Array): NodeId {
  let id = ''
  for (const byte of bytes) id += HEX_OF_BYTES[byte]!
  return id
}

/** The 16 bytes of a node id. */
export function nodeIdBytes(id: NodeId): Uint8Array {
  const bytes = new Uint8Array(NODE_ID_SIZE)
  for (let at = 0; at < NODE_ID_SIZE; at++) {
    bytes[at] = hexValue(id.charCodeAt(2 * at)) * 16 + hexValue(id.charCodeAt(2 * at + 1))
  }
  return bytes
}

/** Of a lowercase digit. */
function hexValue(code: number): number {
  return code <= CODE_OF_9 ? code - CODE_OF_0 : code - CODE_OF_A + 10
}

/** The same member, checked and frozen. Throws InvalidArgumentError for a field out of bounds. */
export function createMember(member: RingMember): RingMember {
  const { nodeId, tokenId, tokenSalt, clientAddress, peerAddress, rack, weight, state } = member
  check(isNodeId(nodeId), `a node id has 32 hexadecimal digits, got ${shown(nodeId)}`)
  check(isNodeId(tokenId), `a token id has 32 hexadecimal digits, got ${shown(tokenId)}`)
  check(isWithin(tokenSalt, 0, TOKEN_SALT_MAX), `a token salt has 16 bits, got ${tokenSalt}`)
  checkAddress(clientAddress)
  checkAddress(peerAddress)
  checkRack(rack)
  checkWeight(weight)
  return Object.freeze({
    nodeId,
    tokenId,
    tokenSalt,
    clientAddress,
    peerAddress,
    rack,
    weight,
    state,
  })
}

/** A member that comes with tokens of its own. Throws InvalidArgumentError. */
export function newMember(
  { nodeId, clientAddress, peerAddress, rack = '', weight = 1 }: NewMember,
  state: MemberState,
  tokenSalt: number,
): RingMember {
  const fields = { clientAddress, peerAddress, rack, weight, state, tokenSalt }
  return createMember({ nodeId, tokenId: nodeId, ...fields })
}

/** Throws InvalidArgumentError unless empty or `host:port` in printable ASCII. */
export function checkAddress(address: string): void {
  check(
    address === '' ||
      (address.length <= ADDRESS_LENGTH_MAX && /^[\x21-\x7e]+:\d{1,5}$/.test(address)),
    `an address is host:port, at most ${ADDRESS_LENGTH_MAX} characters, got ${shown(address)}`,
  )
}

/** Throws InvalidArgumentError unless letters, digits, '_', '.' and '-', possibly none. */
export function checkRack(rack: string): void {
  check(
    rack.length <= RACK_LENGTH_MAX && /^[\w.-]*$/.test(rack),
    `a rack is up to ${RACK_LENGTH_MAX} letters, digits, '_', '.' and '-', got ${shown(rack)}`,
  )
}

/** Throws InvalidArgumentError unless an integer from 1 to WEIGHT_MAX. */
export function checkWeight(weight: number): void {
  check(isWithin(weight, 1, WEIGHT_MAX), `a weight is 1 to ${WEIGHT_MAX}, got ${weight}`)
}

function isWithin(value: number, min: number, max: number): boolean {
  return Number.isInteger(value) && value >= min && value <= max
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 100))
}

function check(condition: boolean, message: string): void {
  if (!condition) throw new InvalidArgumentError(message)
}
