/**
 * A hostile end of a connection to a node, and everything bad that it may do there: with the secret
 * or without, dialling or dialled, following the handshake or not. Seeded.
 */
import {
  HANDSHAKE_FRAME_SIZE_MAX,
  PeerFrame,
  PeerFrameHeader,
  writePeerFrame,
} from '../../src/cluster/peer-frame.ts'
import { PeerHandshake } from '../../src/cluster/peer-handshake.ts'
import { type Hello, PeerRefusal } from '../../src/cluster/peer-hello.ts'
import type { Lane } from '../../src/cluster/peers.ts'
import { FrameDecoder, OutputBuffer, type Wire } from '../../src/net/index.ts'
import type { Random } from '../../src/random.ts'
import { SharedSecret } from '../../src/secret.ts'
import { TEST_CLUSTER, TEST_SECRET } from './peer-harness.ts'

const KIB = 1024
const LANES: readonly Lane[] = ['urgent', 'data', 'bulk']

/** What the attacked node does with a message of each kind. */
export const HostileKind = {
  echo: 1,
  /** Takes three seconds. */
  slow: 2,
  /** Answers more than it is asked. */
  blowUp: 3,
  /** Throws what is no error of ours. */
  fail: 4,
} as const

/** Believes every proof. */
export class GullibleSecret extends SharedSecret {
  override proves(): boolean {
    return true
  }
}

/** One hostile end of a connection: it may know the secret, and means no good all the same. */
export class HostileWire {
  wire: Wire | undefined
  hello: Hello
  readonly knowsSecret: boolean
  isClosed = false
  readonly #random: Random
  readonly #role: 'dialler' | 'acceptor'
  readonly #decoder = new FrameDecoder(1 << 20)
  readonly #header = new PeerFrameHeader()
  #handshake: PeerHandshake | undefined
  #isOpen = false
  #isConnected: boolean
  /** Says what the protocol wants until it is in; else whatever comes to mind. */
  readonly #behaves: boolean
  /** Reads nothing any more: what is sent to it waits. */
  #isDeaf = false

  constructor(
    wire: Wire | undefined,
    random: Random,
    role: 'dialler' | 'acceptor',
    behaves: boolean,
  ) {
    this.wire = wire
    this.#random = random
    this.#role = role
    this.#isConnected = wire !== undefined
    this.#behaves = behaves
    this.knowsSecret = random.next() < 0.6
    this.hello = {
      protocolMin: 1,
      protocolMax: 1,
      features: random.below(4),
      lane: LANES[random.below(3)]!,
      clusterId: random.next() < 0.9 ? TEST_CLUSTER : 'ab'.repeat(16),
      nodeId: this.#nodeId(),
      boot: { generation: 1, nonce: hexOf(random.bytes(16)) },
      challenge: random.bytes(32),
      address: random.next() < 0.5 ? '' : '10.6.6.6:1',
    }
  }

  /**
   * Of a few, so that places are taken from each other; now and then of one that was removed. Who
   * does not know the secret has other ids than who does.
   */
  #nodeId(): string {
    if (this.#random.next() < 0.05) return 'dd'.repeat(16)
    const first = this.knowsSecret ? 0xe0 : 0xf0
    return (first + this.#random.below(8)).toString(16).repeat(16)
  }

  /** The later life of its node, mostly. */
  start(count: number): void {
    const generation = this.#random.next() < 0.8 ? count : 1 + this.#random.below(count)
    this.hello = { ...this.hello, boot: { ...this.hello.boot, generation } }
  }

  get isInside(): boolean {
    return this.#isOpen && !this.isClosed
  }

  opened(): void {
    this.#isConnected = true
    if (this.#behaves) this.#startHandshake().begin()
  }

  #startHandshake(): PeerHandshake {
    const secret = new GullibleSecret(this.knowsSecret ? TEST_SECRET : new Uint8Array(32))
    this.#handshake = new PeerHandshake(this.#role, {
      secret,
      own: this.hello,
      expected: undefined,
      judge: () => undefined,
      write: (type, code, body) => this.#frame(type, code, 0, body),
    })
    return this.#handshake
  }

  received(bytes: Uint8Array): void {
    if (this.#isOpen || !this.#behaves) return
    if (this.#handshake === undefined) this.#startHandshake()
    this.#decoder.push(bytes.slice())
    while (!this.#isOpen && this.#decoder.next()) {
      const { bytes: frame, start, end } = this.#decoder
      this.#header.decode(frame, start, end)
      this.#isOpen = this.#handshake!.take(this.#header, frame, end).type === 'open'
    }
  }

  closed(): void {
    this.isClosed = true
  }

  destroy(): void {
    this.wire?.destroy()
  }

  /** Does one bad thing; returns how many frames that were, more or less. */
  act(): number {
    if (this.isClosed || !this.#isConnected) return 0
    // Who behaves waits until it is in, mostly.
    if (this.#behaves && !this.#isOpen && this.#random.next() < 0.9) return 0
    const acts = this.#isOpen ? INSIDE : OUTSIDE
    return acts[this.#random.below(acts.length)]!(this)
  }

  get random(): Random {
    return this.#random
  }

  get role(): 'dialler' | 'acceptor' {
    return this.#role
  }

  /** Does not read, so answers pile up. */
  goDeaf(): void {
    if (this.#isDeaf) return
    this.#isDeaf = true
    ;(this.wire as { pause?: () => void }).pause?.()
  }

  raw(bytes: Uint8Array): void {
    if (!this.isClosed) this.wire?.write(bytes)
  }

  #frame(type: number, code: number, id: number, body: Uint8Array): void {
    this.raw(frameOf(type, code, id, body))
  }

  frame(type: number, code: number, id: number, body: Uint8Array): number {
    this.#frame(type, code, id, body)
    return 1
  }
}

export function frameOf(type: number, code: number, id: number, body: Uint8Array): Uint8Array {
  const output = new OutputBuffer(64)
  writePeerFrame(output, type, code, id, 1, body)
  return output.written.slice()
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

type Act = (hostile: HostileWire) => number

function requestBody(random: Random, size: number): Uint8Array {
  const body = random.bytes(4 + size)
  body.fill(0, 2, 4)
  return body
}

function mutated(frame: Uint8Array, random: Random): Uint8Array {
  const copy = frame.slice()
  const count = 1 + random.below(3)
  for (let index = 0; index < count; index++) copy[random.below(copy.length)] = random.below(256)
  return copy
}

const garbage: Act = hostile => {
  hostile.raw(hostile.random.bytes(1 + hostile.random.below(300)))
  return 1
}

export const halfAFrame: Act = hostile => {
  const { random } = hostile
  // What comes next may complete it: a refusal is believed from who is inside, as above.
  const kinds = [...Array(12).keys()].filter(type => type !== PeerFrame.refusal)
  const type = hostile.isInside ? kinds[random.below(kinds.length)]! : random.below(12)
  const whole = frameOf(type, random.below(256), 1, random.bytes(random.below(900)))
  hostile.raw(whole.subarray(0, random.below(whole.length)))
  return 1
}

const hugeLength: Act = hostile => {
  const head = new Uint8Array(20)
  const lengths = [0, 1, 15, 16, HANDSHAKE_FRAME_SIZE_MAX + 1, 64 * KIB, 64 * KIB + 1, 2 ** 32 - 1]
  const length = lengths[hostile.random.below(lengths.length)]!
  new DataView(head.buffer).setUint32(0, length, true)
  hostile.raw(head)
  return 1
}

const strangeFrame: Act = hostile => {
  const { random } = hostile
  const body = random.bytes(random.below(200))
  // A refusal is believed from who knows the secret, and would be the end of this.
  const type = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 200][random.below(11)]!
  return hostile.frame(type, random.below(256), random.below(5), body)
}

const changedHello: Act = hostile => {
  const { random } = hostile
  const handshake: Uint8Array[] = []
  new PeerHandshake('dialler', {
    secret: new SharedSecret(TEST_SECRET),
    own: hostile.hello,
    expected: undefined,
    judge: () => undefined,
    write: (type, code, body) => handshake.push(frameOf(type, code, 0, body)),
  }).begin()
  hostile.raw(mutated(handshake[0]!, random))
  return 1
}

const forgedProof: Act = hostile =>
  hostile.frame(PeerFrame.proof, 0, 0, hostile.random.bytes(hostile.random.below(64)))

const forgedRefusal: Act = hostile => {
  const { random } = hostile
  // From who knows the secret it may come after the proof, and is believed then: not of this test.
  const isBelieved = (code: number): boolean =>
    code === PeerRefusal.removed || code === PeerRefusal.superseded
  const all = [...Object.values(PeerRefusal), 0, 77]
  const codes = hostile.knowsSecret ? all.filter(code => !isBelieved(code)) : all
  const code = codes[random.below(codes.length)]!
  return hostile.frame(PeerFrame.refusal, code, 0, random.bytes(random.below(100)))
}

const earlyRequest: Act = hostile =>
  hostile.frame(PeerFrame.request, HostileKind.echo, 1, requestBody(hostile.random, 20))

const silence: Act = () => 0

const hangUp: Act = hostile => {
  if (hostile.random.next() < 0.5) hostile.wire?.end()
  else hostile.destroy()
  return 0
}

const flood: Act = hostile => {
  const { random } = hostile
  const kind = 1 + random.below(5)
  const count = 1 + random.below(400)
  const size = random.below(400)
  for (let id = 1; id <= count; id++) {
    hostile.frame(PeerFrame.request, kind, id, requestBody(random, size))
  }
  return count
}

export const deafFlood: Act = hostile => {
  hostile.goDeaf()
  for (let id = 1; id <= 200; id++) {
    hostile.frame(PeerFrame.request, HostileKind.blowUp, id, requestBody(hostile.random, 10))
  }
  return 200
}

const endlessFrame: Act = hostile => {
  const head = new Uint8Array(20)
  new DataView(head.buffer).setUint32(0, 2 ** 31, true)
  hostile.raw(head)
  for (let piece = 0; piece < 12; piece++) hostile.raw(new Uint8Array(64 * KIB))
  return 1
}

const pings: Act = hostile => {
  const count = 1 + hostile.random.below(500)
  for (let id = 1; id <= count; id++) {
    hostile.frame(PeerFrame.ping, 0, id, hostile.random.bytes(hostile.random.below(50)))
  }
  return count
}

const answersToNobody: Act = hostile => {
  const { random } = hostile
  const count = 1 + random.below(50)
  for (let index = 0; index < count; index++) {
    const type = random.next() < 0.5 ? PeerFrame.reply : PeerFrame.error
    hostile.frame(type, random.below(40), random.below(10), random.bytes(random.below(60)))
  }
  return count
}

const bigFrame: Act = hostile => {
  const { random } = hostile
  const type = hostile.role === 'dialler' ? PeerFrame.request : PeerFrame.reply
  const whole = frameOf(type, HostileKind.echo, 1, requestBody(random, 60 * KIB))
  // All of it, or all but the end.
  hostile.raw(random.next() < 0.5 ? whole : whole.subarray(0, whole.length - 1))
  return 1
}

const OUTSIDE: readonly Act[] = [
  garbage,
  halfAFrame,
  hugeLength,
  endlessFrame,
  strangeFrame,
  changedHello,
  forgedProof,
  forgedRefusal,
  earlyRequest,
  silence,
  silence,
  hangUp,
]

const INSIDE: readonly Act[] = [
  garbage,
  halfAFrame,
  hugeLength,
  endlessFrame,
  strangeFrame,
  flood,
  flood,
  flood,
  deafFlood,
  pings,
  answersToNobody,
  bigFrame,
  silence,
  hangUp,
]
