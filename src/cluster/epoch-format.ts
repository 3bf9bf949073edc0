/**
 * What members say to agree on the ring of the next epoch, and what each keeps of it, as bytes.
 *
 *   ballot  := round u64 | node id [16]
 *   prepare := form u8 (1) | epoch u64 | ballot
 *   accept  := form u8 (1) | epoch u64 | ballot | ring
 *   answer  := form u8 (1) | 1 promised | ballot of what was accepted | ring, if round > 0
 *            | form u8 (1) | 2 accepted
 *            | form u8 (1) | 3 refused | ballot promised
 *            | form u8 (1) | 4 decided | ring that is current
 *            | form u8 (1) | 5 behind | epoch that is current u64
 *   fetch   := form u8 (1) | epoch that is current u64              answer: ring that is current
 *   commit  := form u8 (1) | ring that is current                   answer: as of fetch, the epoch
 *   record  := form u8 (1) | epoch u64 | ballot promised | ballot accepted | ring, if round > 0
 *
 * Integers are little-endian; a ring is as ring-format.ts writes it.
 */
import { ByteReader, ByteWriter, copyBytes, DecodeError } from '../bytes.ts'
import { CorruptionError, ProtocolError, VersionMismatchError } from '../errors.ts'
import type { Ballot } from './ballot.ts'
import { NODE_ID_SIZE, type NodeId, nodeIdBytes, nodeIdOf } from './ring-member.ts'

const FORM = 1

/** A ring that an acceptor has accepted, under the latest ballot. */
export interface AcceptedRing {
  readonly ballot: Ballot
  /** As ring-format.ts writes it. */
  readonly ring: Uint8Array
}

export interface ProposalMessage {
  readonly epoch: number
  readonly ballot: Ballot
  /** Only of an accept. */
  readonly ring: Uint8Array | undefined
}

export type AcceptorAnswer =
  | { readonly type: 'promised'; readonly accepted: AcceptedRing | undefined }
  | { readonly type: 'accepted' }
  /** It has promised not to take part in this one any more. */
  | { readonly type: 'refused'; readonly promised: Ballot }
  /** The ring of that epoch is decided: here is the current one. */
  | { readonly type: 'decided'; readonly ring: Uint8Array }
  /** It does not go by the epoch before yet. */
  | { readonly type: 'behind'; readonly epoch: number }

/** Part of the wire: append only, never renumber. */
const ANSWER_CODES = { promised: 1, accepted: 2, refused: 3, decided: 4, behind: 5 } as const

/** What an acceptor keeps. */
export interface ProposalRecord {
  readonly epoch: number
  readonly promised: Ballot
  readonly accepted: AcceptedRing | undefined
}

export function encodeProposal({ epoch, ballot, ring }: ProposalMessage): Uint8Array {
  const writer = new ByteWriter().uint8(FORM).uint64(epoch)
  writeBallot(writer, ballot)
  if (ring !== undefined) writer.raw(ring)
  return copyBytes(writer.written)
}

export function decodeProposal(bytes: Uint8Array, peer: NodeId): ProposalMessage {
  return decoded(bytes, peer, reader => {
    const epoch = reader.uint64()
    const ballot = readBallot(reader)
    return { epoch, ballot, ring: rest(reader) }
  })
}

export function encodeAnswer(answer: AcceptorAnswer): Uint8Array {
  const writer = new ByteWriter().uint8(FORM).uint8(ANSWER_CODES[answer.type])
  switch (answer.type) {
    case 'promised':
      writeAccepted(writer, answer.accepted)
      break
    case 'accepted':
      break
    case 'refused':
      writeBallot(writer, answer.promised)
      break
    case 'decided':
      writer.raw(answer.ring)
      break
    case 'behind':
      writer.uint64(answer.epoch)
      break
  }
  return copyBytes(writer.written)
}

export function decodeAnswer(bytes: Uint8Array, peer: NodeId): AcceptorAnswer {
  return decoded(bytes, peer, (reader): AcceptorAnswer => {
    const code = reader.uint8()
    switch (code) {
      case ANSWER_CODES.promised:
        return { type: 'promised', accepted: readAccepted(reader) }
      case ANSWER_CODES.accepted:
        return { type: 'accepted' }
      case ANSWER_CODES.refused:
        return { type: 'refused', promised: readBallot(reader) }
      case ANSWER_CODES.decided:
        return { type: 'decided', ring: reader.copy(reader.remaining) }
      case ANSWER_CODES.behind:
        return { type: 'behind', epoch: reader.uint64() }
      default:
        throw new DecodeError(`${code} is no answer`, 1)
    }
  })
}

export function encodeEpoch(epoch: number): Uint8Array {
  return copyBytes(new ByteWriter().uint8(FORM).uint64(epoch).written)
}

export function decodeEpoch(bytes: Uint8Array, peer: NodeId): number {
  return decoded(bytes, peer, reader => reader.uint64())
}

export function encodeCommit(ring: Uint8Array): Uint8Array {
  return copyBytes(new ByteWriter().uint8(FORM).raw(ring).written)
}

/** The ring's own bytes. */
export function decodeCommit(bytes: Uint8Array, peer: NodeId): Uint8Array {
  return decoded(bytes, peer, reader => reader.copy(reader.remaining))
}

export function encodeProposalRecord({ epoch, promised, accepted }: ProposalRecord): Uint8Array {
  const writer = new ByteWriter().uint8(FORM).uint64(epoch)
  writeBallot(writer, promised)
  writeAccepted(writer, accepted)
  return copyBytes(writer.written)
}

/** `path` is the directory, for messages. */
export function decodeProposalRecord(bytes: Uint8Array, path: string): ProposalRecord {
  const form = bytes[0] ?? 0
  if (form > FORM) {
    throw new VersionMismatchError(
      `${path}: the record of proposals has form ${form}, this build reads up to ${FORM}`,
    )
  }
  try {
    const reader = new ByteReader(bytes)
    checkForm(reader)
    const epoch = reader.uint64()
    const promised = readBallot(reader)
    const accepted = readAccepted(reader)
    reader.expectEnd()
    return { epoch, promised, accepted }
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    const place = { path: `${path}/proposal record`, offset: error.offset }
    throw new CorruptionError(place, `the record of proposals is damaged: ${error.message}`, {
      cause: error,
    })
  }
}

function decoded<T>(bytes: Uint8Array, peer: NodeId, read: (reader: ByteReader) => T): T {
  try {
    const reader = new ByteReader(bytes)
    checkForm(reader)
    const result = read(reader)
    reader.expectEnd()
    return result
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    throw new ProtocolError(`${peer} sent what is no message about epochs: ${error.message}`, {
      cause: error,
    })
  }
}

function checkForm(reader: ByteReader): void {
  const form = reader.uint8()
  if (form !== FORM) throw new DecodeError(`its form is ${form}, this build knows ${FORM}`, 0)
}

function writeBallot(writer: ByteWriter, { round, node }: Ballot): void {
  writer.uint64(round).raw(nodeIdBytes(node))
}

function readBallot(reader: ByteReader): Ballot {
  return { round: reader.uint64(), node: nodeIdOf(reader.view(NODE_ID_SIZE)) }
}

function writeAccepted(writer: ByteWriter, accepted: AcceptedRing | undefined): void {
  if (accepted === undefined) writer.uint64(0).raw(new Uint8Array(NODE_ID_SIZE))
  else {
    writeBallot(writer, accepted.ballot)
    writer.raw(accepted.ring)
  }
}

function readAccepted(reader: ByteReader): AcceptedRing | undefined {
  const ballot = readBallot(reader)
  const ring = rest(reader)
  if (ballot.round === 0 && ring === undefined) return undefined
  if (ring === undefined)
    throw new DecodeError('it lacks the ring that was accepted', reader.offset)
  return { ballot, ring }
}

/** What is left, or undefined when nothing is. */
function rest(reader: ByteReader): Uint8Array | undefined {
  return reader.remaining === 0 ? undefined : reader.copy(reader.remaining)
}
