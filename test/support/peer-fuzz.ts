/**
 * Hostile nodes against the links of a good one, with another good one beside it: seeded, over
 * simulated wires, in simulated time.
 *
 * Checked after each step: the two good nodes answer each other in time; nothing of ours calls
 * itself a bug; what the attacked node holds stays within its limits; no handler runs for who has
 * not proven to know the secret. And in the end: nothing that the hostile ones left is kept.
 */
import assert from 'node:assert/strict'
import { PeerFrame } from '../../src/cluster/peer-frame.ts'
import type { PeerLimits } from '../../src/cluster/peer-limits.ts'
import type { PeerLinks } from '../../src/cluster/peer-links.ts'
import type { Lane } from '../../src/cluster/peers.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import type { SharedSecret } from '../../src/secret.ts'
import { deafFlood, frameOf, HostileKind, HostileWire, halfAFrame } from './hostile-node.ts'
import { PeerHarness } from './peer-harness.ts'

const KIB = 1024
/** Small, so that a few hundred frames reach them. */
export const FUZZ_LIMITS: PeerLimits = {
  frameSizeMax: 64 * KIB,
  laneBytesMax: 64 * KIB,
  answersPauseBytes: 64 * KIB,
  answersBytesMax: 256 * KIB,
  receiveBytesMax: 512 * KIB,
  inFlightMax: 32,
  strangersMax: 8,
  acceptedMax: 64,
  guestsMax: 4,
  handshakeTimeoutMs: 4000,
  pingAfterMs: 1000,
  silentAfterMs: 1000,
  silentMaxMs: 4000,
  lingerMs: 1000,
  redialMinMs: 50,
  redialMaxMs: 1000,
  sweepMs: 250,
  keepAliveMs: 30_000,
}
const LANES: readonly Lane[] = ['urgent', 'data', 'bulk']
const VICTIM = '10.0.0.1'
const VICTIM_PORT = 7701
const HOSTILE = '10.6.6.6'
/** A member, in the ring of the victim, that is not a node at all. */
const IMPOSTOR_ID = 'ee'.repeat(16)
const ANSWER_LIMIT_MS = 200

export interface PeerFuzzPlant {
  readonly limits?: Partial<PeerLimits>
  readonly secretOf?: (secret: Uint8Array) => SharedSecret
  /** Registers one more handler, or whatever else. */
  readonly handle?: (links: PeerLinks) => void
}

export interface PeerFuzzReport {
  readonly conversations: number
  readonly frames: number
  readonly goodRequests: number
  readonly outsiders: number
  readonly insiders: number
}

/** Throws what was found. */
export async function fuzzPeers(
  seed: number,
  conversations: number,
  plant: PeerFuzzPlant = {},
): Promise<PeerFuzzReport> {
  const fuzz = new PeerFuzz(seed, plant)
  await fuzz.start()
  for (let index = 0; index < conversations; index++) await fuzz.converse()
  return fuzz.finish()
}

class PeerFuzz {
  readonly #random: Random
  readonly #plant: PeerFuzzPlant
  readonly #peers: PeerHarness
  /** Node ids of hostile nodes that know the secret. */
  readonly #insiders = new Set<string>()
  #hostile: HostileWire[] = []
  #baseline = 0
  #frames = 0
  #goodRequests = 0
  #conversations = 0
  #outsiderCount = 0
  #dialled = 0

  constructor(seed: number, plant: PeerFuzzPlant) {
    this.#random = seededRandom(seed)
    this.#plant = plant
    this.#peers = new PeerHarness({
      seed,
      limits: { ...FUZZ_LIMITS, ...plant.limits },
      handle: links => this.#handle(links),
      ...(plant.secretOf === undefined ? {} : { secretOf: plant.secretOf }),
    })
  }

  get #victim(): PeerLinks {
    return this.#peers.links[0]!
  }

  /** What a hostile one keeps open of a connection that is over is its own affair. */
  get #ownEnds(): number {
    const { hosts, wires } = this.#peers
    return hosts.reduce((sum, host) => sum + wires.openEndsAt(host), 0)
  }

  #handle(links: PeerLinks): void {
    const checked = (from: string): void => {
      const isGood = this.#peers.ids.includes(from)
      assert.ok(isGood || this.#insiders.has(from), `a handler ran for ${from}, an outsider`)
    }
    links.handle(HostileKind.echo, (body, { from }) => {
      checked(from)
      return body.slice()
    })
    links.handle(HostileKind.slow, async (body, { from }) => {
      checked(from)
      const copy = body.slice()
      await new Promise<void>(resolve => {
        this.#peers.clock.setTimer(3000, resolve)
      })
      return copy
    })
    links.handle(HostileKind.blowUp, (_body, { from }) => {
      checked(from)
      return new Uint8Array(32 * KIB)
    })
    links.handle(HostileKind.fail, (_body, { from }) => {
      checked(from)
      throw new RangeError('as planned')
    })
    this.#plant.handle?.(links)
  }

  async start(): Promise<void> {
    await this.#peers.start()
    await this.#peers.start()
    this.#peers.introduce()
    await this.#peers.until(() => this.#peers.isComplete, 'the good ones are linked')
    await this.#peers.clock.advanceAsync(50)
    this.#baseline = this.#ownEnds
    await this.#listenAsImpostor()
    const members = [0, 1].map(at => ({
      nodeId: this.#peers.ids[at]!,
      peerAddress: this.#peers.addressOf(at),
    }))
    members.push({ nodeId: IMPOSTOR_ID, peerAddress: `${HOSTILE}:1` })
    this.#victim.setMembers(members, ['dd'.repeat(16)])
  }

  /** Whom the victim dials, again and again. */
  async #listenAsImpostor(): Promise<void> {
    const { wires } = this.#peers
    const options = { host: HOSTILE, port: 1, keepAliveMs: 0, failed: () => undefined }
    await wires.acceptor(HOSTILE).listen(options, wire => {
      const hostile = new HostileWire(wire, this.#random, 'acceptor', this.#chance(0.5))
      hostile.hello = { ...hostile.hello, nodeId: IMPOSTOR_ID }
      this.#hostile.push(hostile)
      return {
        received: (bytes, size) => hostile.received(bytes.subarray(0, size)),
        drained: () => undefined,
        ended: () => wire.destroy(),
        closed: () => hostile.closed(),
      }
    })
  }

  #chance(probability: number): boolean {
    return this.#random.next() < probability
  }

  /** Lets some more hostile nodes in, lets all of them do something, and looks at the good ones. */
  async converse(): Promise<void> {
    this.#conversations++
    const count = this.#chance(0.05) ? 20 : 1 + this.#random.below(2)
    for (let index = 0; index < count; index++) this.#dial()
    for (const hostile of this.#hostile) {
      const steps = 1 + this.#random.below(4)
      for (let step = 0; step < steps; step++) this.#frames += hostile.act()
    }
    await this.#peers.clock.advanceAsync(this.#random.below(20))
    if (this.#chance(0.05)) await this.#breakGood()
    await this.#checkGood()
    this.#hostile = this.#hostile.filter(hostile => !hostile.isClosed)
    while (this.#hostile.length > 24) this.#hostile.shift()?.destroy()
  }

  #dial(behaves = this.#chance(0.6)): HostileWire {
    const hostile = new HostileWire(undefined, this.#random, 'dialler', behaves)
    hostile.start(++this.#dialled)
    if (hostile.knowsSecret) this.#insiders.add(hostile.hello.nodeId)
    else this.#outsiderCount++
    const wire = this.#peers.wires.connector(HOSTILE).dial(
      { host: VICTIM, port: VICTIM_PORT },
      {
        opened: () => hostile.opened(),
        received: chunk => hostile.received(chunk),
        drained: () => undefined,
        closed: () => hostile.closed(),
      },
    )
    hostile.wire = wire
    this.#hostile.push(hostile)
    return hostile
  }

  /** The good ones lose their links, and must find each other again past all the others. */
  async #breakGood(): Promise<void> {
    this.#peers.wires.reset('10.0.0.2')
    await this.#peers.clock.advanceAsync(1)
    for (let index = 0; index < 20; index++) this.#dial()
    await this.#peers.until(() => this.#peers.isComplete, 'the good ones are linked again', 3000)
    await this.#peers.clock.advanceAsync(2000)
  }

  async #checkGood(): Promise<void> {
    assert.equal(this.#peers.fenced[0], undefined, 'it believed that its place is taken')
    const [, good] = this.#peers.links as [PeerLinks, PeerLinks]
    const [victimId, goodId] = this.#peers.ids as [string, string]
    for (const [from, to] of [
      [good, victimId],
      [this.#victim, goodId],
    ] as const) {
      const lane = LANES[this.#random.below(3)]!
      const body = this.#random.bytes(this.#random.below(1000))
      const answer = from.request(to, lane, HostileKind.echo, body, ANSWER_LIMIT_MS)
      assert.deepEqual(await this.#peers.settle(answer), body, 'the answer to another request came')
      this.#goodRequests++
    }
    this.#checkBounds()
  }

  #checkBounds(): void {
    const bug = this.#peers.log.find(line => /\bbug\b/.test(line) && !line.includes('as planned'))
    assert.equal(bug, undefined, `it met a bug: ${bug}`)
    this.#peers.log.length = 0
    const { strangers, accepted, receiveBytes, answersBytes, inFlight, backlogBytes } =
      this.#victim.figures()
    const limits = FUZZ_LIMITS
    // And some that have been refused, and linger.
    const links = accepted + 2
    const answersMost = limits.answersPauseBytes + 2 * limits.frameSizeMax
    const held: readonly [string, number, number][] = [
      ['strangers', strangers, limits.strangersMax],
      ['links', accepted, limits.acceptedMax],
      ['bytes of incomplete frames', receiveBytes, limits.receiveBytesMax],
      ['bytes of answers', answersBytes, links * answersMost],
      ['requests being answered', inFlight, links * limits.inFlightMax],
      ['bytes to send', backlogBytes, 6 * limits.laneBytesMax],
    ]
    for (const [what, value, most] of held) {
      assert.ok(value <= most, `${value} ${what} are held, at most ${most} may be`)
    }
  }

  /** Of each kind of those that fall silent at least one. */
  async #leaveSome(): Promise<void> {
    const strangers = Array.from({ length: 20 }, () => this.#dial(false))
    await this.#peers.clock.advanceAsync(20)
    this.#checkBounds()
    const insiders: HostileWire[] = []
    while (insiders.length < 4) {
      const hostile = this.#dial(true)
      await this.#peers.clock.advanceAsync(20)
      if (hostile.isInside) insiders.push(hostile)
    }
    halfAFrame(strangers.at(-1)!)
    const [, half, deaf, slow] = insiders as [HostileWire, HostileWire, HostileWire, HostileWire]
    half.raw(
      frameOf(PeerFrame.request, HostileKind.echo, 1, new Uint8Array(60 * KIB)).subarray(
        0,
        50 * KIB,
      ),
    )
    deafFlood(deaf)
    for (let id = 1; id <= 400; id++)
      slow.frame(PeerFrame.request, HostileKind.slow, id, new Uint8Array(4))
    await this.#peers.clock.advanceAsync(20)
    this.#checkBounds()
  }

  /** Whoever is left falls silent; nothing of it may be kept. */
  async finish(): Promise<PeerFuzzReport> {
    const { clock } = this.#peers
    await this.#leaveSome()
    this.#victim.setMembers(
      [0, 1].map(at => ({
        nodeId: this.#peers.ids[at]!,
        peerAddress: this.#peers.addressOf(at),
      })),
      [],
    )
    await clock.advanceAsync(30_000)
    await this.#checkGood()
    const { strangers, accepted, receiveBytes, answersBytes, inFlight } = this.#victim.figures()
    const left = { strangers, accepted, receiveBytes, answersBytes, inFlight }
    const none = { strangers: 0, accepted: 3, receiveBytes: 0, answersBytes: 0, inFlight: 0 }
    assert.deepEqual(left, none, 'something is kept of who is gone')
    assert.equal(this.#ownEnds, this.#baseline, 'connections are left')
    await this.#peers.close()
    return {
      conversations: this.#conversations,
      frames: this.#frames,
      goodRequests: this.#goodRequests,
      outsiders: this.#outsiderCount,
      insiders: this.#insiders.size,
    }
  }
}
