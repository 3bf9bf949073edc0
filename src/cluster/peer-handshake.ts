/**
 * How two nodes make sure of each other. Frames in, frames out; no wires here.
 *
 *   dialler   hello -->            --> proof -->          open
 *   acceptor        <-- hello              <-- proof      open
 *
 * Each proof is HMAC-SHA256, keyed with the cluster secret, over who proves and both hellos with
 * their challenges, so neither side's proof can be replayed or returned to it (challenge-response,
 * ISO/IEC 9798-4 mechanism 5). The dialler proves first: who only knocks learns nothing to guess
 * the secret from. The acceptor decides who may come in only after that, and what it says then is
 * proven too; whatever is said before is believed by nobody, and a refusal before names nobody.
 */
import { ByteWriter, utf8Encode } from '../bytes.ts'
import type { SharedSecret } from '../secret.ts'
import { PeerFrame, type PeerFrameHeader } from './peer-frame.ts'
import {
  decodeHello,
  decodeRefusal,
  encodeHello,
  encodeRefusal,
  type Hello,
  NO_CLUSTER,
  NO_PROOF,
  PEER_PROTOCOL_MAX,
  PEER_PROTOCOL_MIN,
  PeerRefusal,
} from './peer-hello.ts'
import type { NodeId } from './ring-member.ts'

/** Why a node is refused. */
export interface Objection {
  /** A PeerRefusal. */
  readonly code: number
  readonly message: string
}

export interface HandshakeParts {
  readonly secret: SharedSecret
  readonly own: Hello
  /** Whom the dialler means; undefined: whoever is there, and the acceptor. */
  readonly expected: NodeId | undefined
  /** What speaks against a node that has proven to know the secret. */
  readonly judge: (peer: Hello) => Objection | undefined
  readonly write: (type: number, code: number, body: Uint8Array) => void
}

export type HandshakeState =
  | { readonly type: 'waiting' }
  | { readonly type: 'open'; readonly peer: Hello }
  /** `isProven`: the other node said so, and it knows the secret. */
  | ({
      readonly type: 'refused'
      readonly by: 'us' | 'them'
      readonly isProven: boolean
    } & Objection)

const WAITING: HandshakeState = { type: 'waiting' }
const DIALLER = utf8Encode('duramen peer 1 dialler')
const ACCEPTOR = utf8Encode('duramen peer 1 acceptor')
const REFUSAL = utf8Encode('duramen peer 1 refusal')

/** What a refusal says before its receiver has proven anything, instead of who is who. */
const TOLD_TO_STRANGERS: Readonly<Record<number, string>> = {
  [PeerRefusal.version]:
    `versions ${PEER_PROTOCOL_MIN} to ${PEER_PROTOCOL_MAX} are spoken between nodes here: ` +
    'upgrade the older',
  [PeerRefusal.cluster]:
    'the node at this address belongs to another cluster: check the addresses; clusters are ' +
    'never merged',
  [PeerRefusal.otherNode]: 'another node was looked for at this address',
  [PeerRefusal.secret]: 'the node has another cluster secret: give all nodes the same',
}

export class PeerHandshake {
  readonly #isDialler: boolean
  readonly #parts: HandshakeParts
  readonly #ownHello: Uint8Array
  #peer: Hello | undefined
  #transcript: Uint8Array | undefined

  constructor(role: 'dialler' | 'acceptor', parts: HandshakeParts) {
    this.#isDialler = role === 'dialler'
    this.#parts = parts
    this.#ownHello = encodeHello(parts.own)
  }

  /** What the other node says it is, proven or not; undefined before it has. */
  get claimed(): Hello | undefined {
    return this.#peer
  }

  /** The dialler's first word. */
  begin(): void {
    this.#parts.write(PeerFrame.hello, 0, this.#ownHello)
  }

  /** Takes the next frame. Throws DecodeError. */
  take({ type, code, bodyStart }: PeerFrameHeader, bytes: Uint8Array, end: number): HandshakeState {
    if (type === PeerFrame.hello && this.#peer === undefined) {
      return this.#takeHello(bytes, bodyStart, end)
    }
    if (type === PeerFrame.proof && this.#peer !== undefined) {
      return this.#takeProof(bytes.subarray(bodyStart, end), this.#peer)
    }
    if (type === PeerFrame.refusal) return this.#takeRefusal(code, bytes, bodyStart, end)
    return this.#refuse(PeerRefusal.protocol, `a frame of type ${type} has no place in a handshake`)
  }

  #takeHello(bytes: Uint8Array, start: number, end: number): HandshakeState {
    const peer = decodeHello(bytes, start, end)
    this.#peer = peer
    const objection = this.#objectToClaim(peer)
    if (objection !== undefined) return this.#refuseUnproven(objection)
    const theirs = bytes.slice(start, end)
    if (this.#isDialler) {
      this.#transcript = transcriptOf(this.#ownHello, theirs)
      this.#parts.write(PeerFrame.proof, 0, this.#proof(DIALLER))
    } else {
      this.#transcript = transcriptOf(theirs, this.#ownHello)
      this.#parts.write(PeerFrame.hello, 0, this.#ownHello)
    }
    return WAITING
  }

  /** What speaks against a node by what it says of itself alone. */
  #objectToClaim(peer: Hello): Objection | undefined {
    const { own, expected } = this.#parts
    if (peer.protocolMin > PEER_PROTOCOL_MAX || peer.protocolMax < PEER_PROTOCOL_MIN) {
      const message =
        `node ${peer.nodeId} speaks versions ${peer.protocolMin} to ${peer.protocolMax} between ` +
        `nodes, node ${own.nodeId} ${PEER_PROTOCOL_MIN} to ${PEER_PROTOCOL_MAX}: upgrade the older`
      return { code: PeerRefusal.version, message }
    }
    if (expected !== undefined && peer.nodeId !== expected) {
      const message =
        `node ${peer.nodeId} is where node ${expected} was looked for: ` +
        'the address is out of date, or a new disk has taken the place of the old one'
      return { code: PeerRefusal.otherNode, message }
    }
    const isSame = peer.clusterId === own.clusterId
    if (isSame || peer.clusterId === NO_CLUSTER || own.clusterId === NO_CLUSTER) return undefined
    const message =
      `node ${peer.nodeId} belongs to cluster ${peer.clusterId}, node ${own.nodeId} to cluster ` +
      `${own.clusterId}: check the addresses; clusters are never merged`
    return { code: PeerRefusal.cluster, message }
  }

  #takeProof(proof: Uint8Array, peer: Hello): HandshakeState {
    const { secret, judge, write } = this.#parts
    const role = this.#isDialler ? ACCEPTOR : DIALLER
    if (!secret.proves(proof, role, this.#transcript!)) {
      const message = `node ${peer.nodeId} has another cluster secret: give all nodes the same`
      return this.#refuseUnproven({ code: PeerRefusal.secret, message })
    }
    const objection = judge(peer)
    if (objection !== undefined) return this.#refuse(objection.code, objection.message, true)
    if (!this.#isDialler) write(PeerFrame.proof, 0, this.#proof(ACCEPTOR))
    return { type: 'open', peer }
  }

  #takeRefusal(code: number, bytes: Uint8Array, start: number, end: number): HandshakeState {
    const { proof, message } = decodeRefusal(code, bytes, start, end)
    const isProven =
      this.#transcript !== undefined &&
      this.#parts.secret.proves(proof, REFUSAL, this.#transcript, refusalText(code, message))
    return { type: 'refused', by: 'them', code, message, isProven }
  }

  /** Whoever it is learns what is wrong, and nothing about this node or its cluster. */
  #refuseUnproven({ code, message }: Objection): HandshakeState {
    const told = TOLD_TO_STRANGERS[code] ?? message
    this.#parts.write(
      PeerFrame.refusal,
      code,
      encodeRefusal({ code, message: told, proof: NO_PROOF }),
    )
    return { type: 'refused', by: 'us', code, message, isProven: false }
  }

  #refuse(code: number, message: string, isProven = false): HandshakeState {
    const { secret, write } = this.#parts
    const proof = isProven
      ? secret.proof(REFUSAL, this.#transcript!, refusalText(code, message))
      : NO_PROOF
    write(PeerFrame.refusal, code, encodeRefusal({ code, message, proof }))
    return { type: 'refused', by: 'us', code, message, isProven }
  }

  #proof(role: Uint8Array): Uint8Array {
    return this.#parts.secret.proof(role, this.#transcript!)
  }
}

/** Each hello behind its length, so that no byte of one can pass for the other's. */
function transcriptOf(dialler: Uint8Array, acceptor: Uint8Array): Uint8Array {
  const writer = new ByteWriter(512)
  writer.uint32(dialler.length).raw(dialler).uint32(acceptor.length).raw(acceptor)
  return writer.written
}

function refusalText(code: number, message: string): Uint8Array {
  return new ByteWriter(128).uint8(code).raw(utf8Encode(message)).written
}
