/**
 * What two nodes say of themselves before they trust each other, and how a node says no.
 *
 *   hello   := magic u32 | protocol min u16 | protocol max u16 | features u32 | lane u8
 *            | cluster id [16] | node id [16] | generation u64 | boot nonce [16] | challenge [32]
 *            | address length u8 | address (ASCII, host:port or empty)
 *   refusal := proof [32] | message (UTF-8)
 *
 * Readers ignore bytes behind these fields. All of a hello is part of what the proofs cover, so
 * nothing of it can be changed on the way, what a later version adds included.
 */
import { ByteReader, ByteWriter, DecodeError, utf8Decode, utf8Encode } from '../bytes.ts'
import {
  AuthenticationError,
  ClosedError,
  InvalidArgumentError,
  type KvError,
  LockedError,
  OverloadedError,
  ProtocolError,
  VersionMismatchError,
} from '../errors.ts'
import { PROOF_SIZE } from '../secret.ts'
import type { Lane } from './peers.ts'
import { checkAddress, NODE_ID_SIZE, type NodeId, nodeIdBytes, nodeIdOf } from './ring-member.ts'

/** "DRPL" in the order of the bytes on the wire. */
const MAGIC = 0x4c50_5244
export const PEER_PROTOCOL_MIN = 1
export const PEER_PROTOCOL_MAX = 1
/** Bits of optional features; none yet. */
export const PEER_FEATURES = 0
export const BOOT_NONCE_SIZE = 16
/** The first bytes of a boot nonce; four more number the tries. */
export const ATTEMPT_ID_SIZE = 8
const ATTEMPT_DIGITS = 2 * ATTEMPT_ID_SIZE
/** The attempt and the number of the try. */
const TRY_DIGITS = ATTEMPT_DIGITS + 8
export const CHALLENGE_SIZE = 32
/** Characters of a refusal that are shown. */
const REFUSAL_TEXT_SIZE_MAX = 1000
/** The cluster id of a node that belongs to none yet. */
export const NO_CLUSTER = '0'.repeat(2 * NODE_ID_SIZE)

/** Append-only. */
export const LANE_CODES: Readonly<Record<Lane, number>> = { urgent: 1, data: 2, bulk: 3 }
const LANES: readonly Lane[] = ['urgent', 'data', 'bulk']

/** One life of a node's process. Of two lives of a node the later one is right. */
export interface Boot {
  /** Greater by one than that of the last start that most members took; see start-record.ts. */
  readonly generation: number
  /**
   * Hexadecimal: attempt id, number of the try, random bytes. Tells two processes apart that were
   * started with the same disk, and further tries of one directory from those of a copy.
   */
  readonly nonce: string
  /** Most members have taken it, as far as is known: its directory goes on with a greater one. */
  readonly isTaken?: boolean
}

export interface Hello {
  readonly protocolMin: number
  readonly protocolMax: number
  readonly features: number
  readonly lane: Lane
  /** NO_CLUSTER for a node that is about to join one. */
  readonly clusterId: string
  readonly nodeId: NodeId
  readonly boot: Boot
  readonly challenge: Uint8Array
  /** Where others reach it, as far as it knows; else empty. */
  readonly address: string
}

/** How a life of a node stands to another one; `copy`: of a copy of its directory. */
export type BootOrder = 'same' | 'earlier' | 'later' | 'copy'

/**
 * How `boot` stands to `known`. An image of a start that was not taken yet shares the attempt with
 * what the directory itself goes on with: of the same number, or beside a start that was taken, it
 * is a copy all the same.
 */
export function compareBoots(boot: Boot, known: Boot): BootOrder {
  if (boot.generation !== known.generation) {
    return boot.generation < known.generation ? 'earlier' : 'later'
  }
  if (boot.nonce === known.nonce) return 'same'
  const isOneAttempt = boot.nonce.slice(0, ATTEMPT_DIGITS) === known.nonce.slice(0, ATTEMPT_DIGITS)
  if (!isOneAttempt || known.isTaken === true) return 'copy'
  if (boot.isTaken === true) return 'later'
  const [number, knownNumber] = [boot, known].map(({ nonce }) => nonce.slice(0, TRY_DIGITS))
  if (number === knownNumber) return 'copy'
  return number! < knownNumber! ? 'earlier' : 'later'
}

export function encodeHello(hello: Hello): Uint8Array {
  const address = utf8Encode(hello.address)
  const writer = new ByteWriter(128)
  writer.uint32(MAGIC).uint16(hello.protocolMin).uint16(hello.protocolMax)
  writer.uint32(hello.features).uint8(LANE_CODES[hello.lane])
  writer.raw(nodeIdBytes(hello.clusterId)).raw(nodeIdBytes(hello.nodeId))
  writer.uint64(hello.boot.generation).raw(nodeIdBytes(hello.boot.nonce)).raw(hello.challenge)
  writer.uint8(address.length).raw(address)
  return writer.written
}

/** Throws DecodeError for what is none. */
export function decodeHello(bytes: Uint8Array, start: number, end: number): Hello {
  const reader = new ByteReader(bytes, start, end)
  if (reader.uint32() !== MAGIC) throw new DecodeError('not the hello of a node', start)
  return {
    protocolMin: reader.uint16(),
    protocolMax: reader.uint16(),
    features: reader.uint32(),
    lane: laneOf(reader),
    clusterId: nodeIdOf(reader.view(NODE_ID_SIZE)),
    nodeId: nodeIdOf(reader.view(NODE_ID_SIZE)),
    boot: { generation: reader.uint64(), nonce: nodeIdOf(reader.view(BOOT_NONCE_SIZE)) },
    challenge: reader.copy(CHALLENGE_SIZE),
    address: addressOf(reader),
  }
}

function laneOf(reader: ByteReader): Lane {
  const { offset } = reader
  const code = reader.uint8()
  const lane = LANES.find(name => LANE_CODES[name] === code)
  if (lane === undefined) throw new DecodeError(`unknown lane ${code}`, offset)
  return lane
}

function addressOf(reader: ByteReader): string {
  const { offset } = reader
  const address = utf8Decode(reader.view(reader.uint8()))
  try {
    checkAddress(address)
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    throw new DecodeError(error.message, offset)
  }
  return address
}

/** Why a link is refused or ended. Part of the protocol: append-only. */
export const PeerRefusal = {
  /** What came is not the protocol. */
  protocol: 1,
  /** No version of the protocol is spoken by both. */
  version: 2,
  /** The nodes belong to different clusters. */
  cluster: 3,
  /** The nodes were given different cluster secrets. */
  secret: 4,
  /** The dialler looked for another node at this address. */
  otherNode: 5,
  /** A later life of the refused node was seen: it must stop. */
  superseded: 6,
  /** The refused node was removed from the cluster for good. */
  removed: 7,
  /** Too many links. */
  full: 8,
  /** The node is about to stop. */
  closing: 9,
  /** A later link of the same node and lane took its place. */
  replaced: 10,
  /** The links of this node are encrypted, and what came was not. */
  plain: 11,
} as const

/** In the place of a proof, where there is none to give or the link itself is proof enough. */
export const NO_PROOF = new Uint8Array(PROOF_SIZE)

/** A link that was refused by the other node. */
export interface Refusal {
  readonly code: number
  readonly message: string
  /** HMAC over the handshake, or zeros where the refuser could not know the secret yet. */
  readonly proof: Uint8Array
}

export function encodeRefusal({ message, proof }: Refusal): Uint8Array {
  return new ByteWriter(128).raw(proof).raw(utf8Encode(message)).written
}

export function decodeRefusal(
  code: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): Refusal {
  const reader = new ByteReader(bytes, start, end)
  const proof = reader.copy(PROOF_SIZE)
  return { code, proof, message: utf8Decode(reader.view(reader.remaining)) }
}

/** The refusal as an error; its text says what to do. */
export function refusalError(code: number, text: string): KvError {
  const message = inOneLine(text)
  switch (code) {
    case PeerRefusal.version:
      return new VersionMismatchError(message)
    case PeerRefusal.secret:
      return new AuthenticationError(message)
    case PeerRefusal.superseded:
      return new LockedError(message)
    case PeerRefusal.cluster:
    case PeerRefusal.otherNode:
    case PeerRefusal.removed:
    case PeerRefusal.plain:
      return new InvalidArgumentError(message)
    case PeerRefusal.full:
      return new OverloadedError(message, 1000)
    case PeerRefusal.closing:
    case PeerRefusal.replaced:
      return new ClosedError(message)
    default:
      return new ProtocolError(message)
  }
}

/** What another program sent, for logs and terminals: no control characters, and not endless. */
export function inOneLine(text: string): string {
  const shown = text.slice(0, REFUSAL_TEXT_SIZE_MAX).replace(/\p{Cc}/gu, '\ufffd')
  return text.length > REFUSAL_TEXT_SIZE_MAX ? `${shown}…` : shown
}
