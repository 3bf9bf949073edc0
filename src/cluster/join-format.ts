/**
 * What a node that joins and the members say to each other, as bytes.
 *
 *   join     := form u8 (1) | 1 | weight u8 | client address | peer address | rack
 *   joined   := form u8 (1) | outcome u8 | text
 *   isEmpty  := form u8 (1) | 2 | epoch u64
 *   emptiness := form u8 (1) | epoch that is current u64 | empty u8
 *   address, rack := length u8 | ASCII                      text := the rest, UTF-8
 *
 * Integers are little-endian. A join comes from the node that joins, an isEmpty from the member
 * that leads it.
 */
import { ByteReader, ByteWriter, copyBytes, DecodeError, utf8Decode, utf8Encode } from '../bytes.ts'
import { InvalidArgumentError, ProtocolError } from '../errors.ts'
import { checkAddress, checkRack, checkWeight, type NewMember, type NodeId } from './ring-member.ts'

const FORM = 1
const STEP_JOIN = 1
const STEP_EMPTY = 2

/** Part of the wire: append only, never renumber. */
const OUTCOME_CODES = { joined: 1, later: 2, refused: 3 } as const

export type JoinOutcome = keyof typeof OUTCOME_CODES

export interface JoinAnswer {
  /** `later`: asking again may help; `refused`: it will not. */
  readonly outcome: JoinOutcome
  /** Why, for whoever operates the node. */
  readonly text: string
}

export type JoinRequest =
  | { readonly step: 'join'; readonly member: NewMember }
  | { readonly step: 'isEmpty'; readonly epoch: number }

export interface Emptiness {
  /** That the member goes by. */
  readonly epoch: number
  readonly isEmpty: boolean
}

export function encodeJoin({ clientAddress, peerAddress, rack = '', weight = 1 }: NewMember) {
  const writer = new ByteWriter().uint8(FORM).uint8(STEP_JOIN).uint8(weight)
  for (const text of [clientAddress, peerAddress, rack]) {
    writer.uint8(text.length).raw(utf8Encode(text))
  }
  return copyBytes(writer.written)
}

export function encodeIsEmpty(epoch: number): Uint8Array {
  return copyBytes(new ByteWriter().uint8(FORM).uint8(STEP_EMPTY).uint64(epoch).written)
}

/** Throws ProtocolError for what is none. */
export function decodeJoinRequest(bytes: Uint8Array, from: NodeId): JoinRequest {
  return decoded(bytes, from, (reader): JoinRequest => {
    const step = reader.uint8()
    if (step === STEP_EMPTY) return { step: 'isEmpty', epoch: reader.uint64() }
    if (step !== STEP_JOIN) throw new DecodeError(`${step} is no step of a join`, 1)
    const weight = reader.uint8()
    const clientAddress = readText(reader)
    const peerAddress = readText(reader)
    const rack = readText(reader)
    checkWeight(weight)
    checkAddress(clientAddress)
    checkAddress(peerAddress)
    checkRack(rack)
    return { step: 'join', member: { nodeId: from, clientAddress, peerAddress, rack, weight } }
  })
}

export function encodeJoinAnswer({ outcome, text }: JoinAnswer): Uint8Array {
  const writer = new ByteWriter().uint8(FORM).uint8(OUTCOME_CODES[outcome])
  return copyBytes(writer.raw(utf8Encode(text)).written)
}

export function decodeJoinAnswer(bytes: Uint8Array, from: NodeId): JoinAnswer {
  return decoded(bytes, from, reader => {
    const code = reader.uint8()
    const text = utf8Decode(reader.view(reader.remaining))
    for (const outcome of ['joined', 'later', 'refused'] as const) {
      if (OUTCOME_CODES[outcome] === code) return { outcome, text }
    }
    throw new DecodeError(`${code} is no outcome of a join`, 1)
  })
}

export function encodeEmptiness({ epoch, isEmpty }: Emptiness): Uint8Array {
  const writer = new ByteWriter()
    .uint8(FORM)
    .uint64(epoch)
    .uint8(isEmpty ? 1 : 0)
  return copyBytes(writer.written)
}

export function decodeEmptiness(bytes: Uint8Array, from: NodeId): Emptiness {
  return decoded(bytes, from, reader => {
    const epoch = reader.uint64()
    return { epoch, isEmpty: reader.uint8() === 1 }
  })
}

function readText(reader: ByteReader): string {
  return utf8Decode(reader.view(reader.uint8()))
}

function decoded<T>(bytes: Uint8Array, from: NodeId, read: (reader: ByteReader) => T): T {
  try {
    const reader = new ByteReader(bytes)
    const form = reader.uint8()
    if (form !== FORM) throw new DecodeError(`its form is ${form}, this build knows ${FORM}`, 0)
    const result = read(reader)
    reader.expectEnd()
    return result
  } catch (error) {
    if (!(error instanceof DecodeError || error instanceof InvalidArgumentError)) throw error
    throw new ProtocolError(`${from} sent what is no message of a join: ${error.message}`, {
      cause: error,
    })
  }
}
