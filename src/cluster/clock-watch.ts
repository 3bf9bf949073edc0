/**
 * Whether the clock of this node is right, as far as the other members can tell. Versions order
 * writes by time: what a node with a clock that is ahead has versioned, nobody can overwrite until
 * then, and writes that lose against it are acknowledged. So a node whose clock is off from those
 * of most members takes no writes until it is set (P6 of the research: doomstones).
 *
 * It asks every member for its time, in turn and when it is linked, and reckons half of the way for
 * the answer. With two members nobody can say which one is wrong: then it only says so.
 *
 * Invariant: nothing counts that was measured before this node's own clock was set. All else counts
 * until it is measured anew: a clock does not become right because nobody can be asked.
 */
import { ByteReader, ByteWriter } from '../bytes.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import { KvError, UnavailableError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { decoded } from './read-messages.ts'
import type { NodeId } from './ring-member.ts'

/** A clock that differs by more is off. Far more than clocks that are kept, and than links take. */
export const CLOCK_OFF_MS = 1000
const TICK_MS = 2000
/** An answer that took longer says nothing. */
const ROUND_TRIP_MAX_MS = 500
/** A wall clock that moved by more against the monotonic one was set, or the machine slept. */
const STEP_MS = 100
const NOTHING = new Uint8Array(0)

export interface ClockWatchOptions {
  readonly peers: Peers
  /** All members, this node among them. */
  readonly members: () => readonly NodeId[]
  readonly clock: Clock
  readonly logger: Logger
}

export class ClockWatch {
  readonly #options: ClockWatchOptions
  /** By member: its clock less that of this node. */
  readonly #measured = new Map<NodeId, number>()
  readonly #asking = new Set<NodeId>()
  readonly #unlisten: () => void
  /** The wall clock less the monotonic one, when that was looked at last. */
  #differenceMs: number
  /** How often this node's clock was set. */
  #steps = 0
  #next = 0
  #cancelTick: CancelTimer = () => undefined
  #isClosed = false
  /** How far most others are ahead of this node; 0 while they are not. */
  #offMs = 0
  /** What was said of it since all was well: 1 that clocks differ, 2 that this one is off. */
  #said = 0

  /** Answers the peers: made once a node, before its links are started. */
  constructor(options: ClockWatchOptions) {
    const { peers, clock } = options
    this.#options = options
    this.#differenceMs = clock.wallMs() - clock.monotonicMs()
    peers.handle(PeerMessage.clock, () => encodeTime(clock.wallMs()))
    this.#unlisten = peers.onLink((peer, isLinked) => {
      if (isLinked) void this.#ask(peer)
    })
  }

  /** Begins to ask in turn; who is linked is asked from the beginning. Once. */
  start(): void {
    this.#tickLater()
  }

  /** Milliseconds by which most other members are ahead; negative: behind; 0 within bounds. */
  get offMs(): number {
    this.#noticeStep()
    return this.#offMs
  }

  /** Throws UnavailableError when this node must not version or judge writes. */
  check(): void {
    const { offMs } = this
    if (offMs === 0) return
    throw new UnavailableError(
      `the clock of this node is ${Math.round(Math.abs(offMs))} ms ` +
        `${offMs < 0 ? 'ahead of' : 'behind'} those of most other nodes, so it takes no writes: ` +
        'set its clock, or write to another node',
    )
  }

  close(): void {
    this.#isClosed = true
    this.#cancelTick()
    this.#unlisten()
  }

  #tickLater(): void {
    const { clock } = this.#options
    this.#cancelTick = clock.setTimer(TICK_MS, () => this.#tick(), { background: true })
  }

  #tick(): void {
    this.#noticeStep()
    this.#judge()
    const others = this.#others()
    const next = others[this.#next++ % Math.max(1, others.length)]
    if (next !== undefined) void this.#ask(next)
    this.#tickLater()
  }

  #others(): NodeId[] {
    const { members, peers } = this.#options
    return members().filter(node => node !== peers.self)
  }

  /** Forgets what was measured by a clock that has been set since, and measures anew. */
  #noticeStep(): void {
    const { clock } = this.#options
    const differenceMs = clock.wallMs() - clock.monotonicMs()
    const stepMs = Math.abs(differenceMs - this.#differenceMs)
    this.#differenceMs = differenceMs
    if (stepMs <= STEP_MS || this.#isClosed) return
    this.#steps++
    this.#measured.clear()
    this.#asking.clear()
    this.#judge()
    for (const node of this.#others()) void this.#ask(node)
  }

  /** Never rejects. */
  async #ask(node: NodeId): Promise<void> {
    const { peers, clock, logger } = this.#options
    if (this.#isClosed || this.#asking.has(node) || !peers.isLinked(node)) return
    this.#asking.add(node)
    const sentMs = clock.monotonicMs()
    const steps = this.#steps
    try {
      const { clock: kind } = PeerMessage
      const answer = await peers.request(node, 'urgent', kind, NOTHING, ROUND_TRIP_MAX_MS)
      const halfMs = (clock.monotonicMs() - sentMs) / 2
      this.#noticeStep()
      if (this.#steps !== steps || 2 * halfMs > ROUND_TRIP_MAX_MS) return
      const aheadMs = decodeTime(answer) + halfMs - clock.wallMs()
      this.#measured.set(node, aheadMs)
      this.#judge()
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      logger.debug('a member did not tell its time', { node, error })
    } finally {
      this.#asking.delete(node)
    }
  }

  #judge(): void {
    const count = this.#options.members().length
    const others = this.#others().flatMap(node => this.#measured.get(node) ?? [])
    const ahead = others.filter(aheadMs => aheadMs > CLOCK_OFF_MS)
    const behind = others.filter(aheadMs => aheadMs < -CLOCK_OFF_MS)
    const most = [ahead, behind].find(({ length }) => 2 * length > count)
    // The least of them: that is how far it must be set at least.
    this.#offMs = (most ?? []).reduce(
      (least, aheadMs) => (Math.abs(aheadMs) < Math.abs(least) ? aheadMs : least),
      most?.[0] ?? 0,
    )
    this.#say(ahead.length + behind.length)
  }

  /** Each thing once, until all is well again. */
  #say(differing: number): void {
    const { logger } = this.#options
    const offMs = Math.round(this.#offMs)
    if (differing === 0) this.#said = 0
    else if (offMs !== 0 && this.#said < 2) {
      this.#said = 2
      logger.error('the clock of this node is off; it takes no writes until it is set', { offMs })
    } else if (this.#said < 1) {
      this.#said = 1
      const fields = { members: differing }
      logger.warn('the clocks of some members differ from that of this node: set them', fields)
    }
  }
}

function encodeTime(wallMs: number): Uint8Array {
  return new ByteWriter(8).uint64(Math.floor(wallMs)).written
}

function decodeTime(body: Uint8Array): number {
  return decoded('time', () => {
    const reader = new ByteReader(body)
    const wallMs = reader.uint64()
    reader.expectEnd()
    return wallMs
  })
}
