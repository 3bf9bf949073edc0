/**
 * Whether the clock of this node is right, as far as the other members can tell. Versions order
 * writes by time: what a node with a clock that is ahead has versioned, nobody can overwrite until
 * then, and writes that lose against it are acknowledged. So a node whose clock is off from those
 * of most members takes no writes until it is set (P6 of the research: doomstones).
 *
 *   undecided --most members agree, all were asked, or WAIT_MS--> takes writes
 *      ^  |  +----most are ahead, or behind--> off, takes none --they agree--> takes writes
 *      |  +----WAIT_MS after a start, not known--> takes none --one agrees---> takes writes
 *      +---- from any, when the clock was set
 *
 * It asks every member for its time, in turn and when it is linked, and reckons half of the way for
 * the answer. A node that can ask nobody goes on with the time that it had before its clock was set
 * (believed-clock.ts). After a start there is none; and a clock that is ahead then would make what
 * nobody can overwrite, so it takes no writes until one other member agrees: two clocks are not
 * wrong alike by chance. Of two members that differ nobody can say which one is wrong, and both
 * take writes; unless one of them was set: then it was right before.
 *
 * The time that versions have reached is compared as well: it stays ahead when the wall clock comes
 * back, over restarts too. A node that is alone with it goes back to where most others are; where
 * most members are ahead together (all clocks were wrong, and are set) versions go on from there.
 *
 * Invariants:
 *  1. Nothing counts that was measured before this node's own clock was set. All else counts until
 *     it is measured anew: a clock does not become right because nobody can be asked.
 *  2. Of the clock that a machine has after it was set no version is made before members of a
 *     majority have agreed with it.
 *  3. Nor of the clock that it was started with before it is known: another member has agreed with
 *     it, or all have been asked, or it is near what it reached in an earlier life.
 */
import { ByteReader, ByteWriter } from '../bytes.ts'
import type { CancelTimer } from '../clock.ts'
import { KvError, UnavailableError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { BelievedClock } from './believed-clock.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { decoded } from './read-messages.ts'
import type { NodeId } from './ring-member.ts'

/** A clock that differs by more is off. Far more than clocks that are kept, and than links take. */
export const CLOCK_OFF_MS = 1000
/** Writes wait no longer for others to say what time it is, after a start and when it was set. */
export const CLOCK_WAIT_MS = 2000
const TICK_MS = 2000
const UNDECIDED_TICK_MS = 200
/** An answer that took longer says nothing. */
const ROUND_TRIP_MAX_MS = 500
const NOTHING = new Uint8Array(0)
const UNKNOWN =
  'this node was started, and no other member agrees yet with its clock, which may be ahead, so ' +
  'it takes no writes: see that the others run and reach it, and set its clock if it is wrong ' +
  '(or, where something else vouches for it, start it with kvd: --trust-clock)'

/** The clock of versions; HybridLogicalClock is one. */
export interface WatchedVersions {
  /**
   * The time of its latest version, or of its mark. Not that of the wall clock, which may be in
   * doubt: members whose clocks were all set together would tell each other the time that they
   * are about to give up, and take versions that are as far ahead.
   */
  readonly reachedMs: number
  /** Most members are so far ahead of their wall clocks, and it may be, too. */
  setLead(leadMs: number): void
  /** It has reached what it should not have. */
  setBack(timeMs: number): void
}

export interface ClockWatchOptions {
  readonly peers: Peers
  /** All members, this node among them. */
  readonly members: () => readonly NodeId[]
  readonly clock: BelievedClock
  readonly versions: WatchedVersions
  readonly logger: Logger
  /** The clock needs nobody to agree with it after this start. */
  readonly isKnown: boolean
}

/** A member, by this machine's clock. */
interface Measured {
  /** Its wall clock less that of this machine. */
  readonly aheadMs: number
  /** The time that its versions have reached, less the wall clock of this machine. */
  readonly reachedMs: number
}

export class ClockWatch {
  readonly #options: ClockWatchOptions
  readonly #measured = new Map<NodeId, Measured>()
  readonly #asking = new Set<NodeId>()
  readonly #unlisten: () => void
  /** How often this node's clock was set. */
  #steps = 0
  #next = 0
  #cancelTick: CancelTimer = () => undefined
  #cancelWait: CancelTimer = () => undefined
  #isClosed = false
  /** How far most others are ahead of this node; 0 while they are not. */
  #offMs = 0
  /** The clock that the node was started with is not wrong, as far as anybody can tell. */
  #isKnown: boolean
  /** What was said of it since all was well: 1 that clocks differ, 2 that this one is off. */
  #said = 0
  /** Resolves when it is no longer undecided. */
  #decision: Promise<void> | undefined
  #resolveDecision: () => void = () => undefined

  /** Answers the peers: made once a node, before its links are started. */
  constructor(options: ClockWatchOptions) {
    const { peers, clock, versions, isKnown } = options
    this.#options = options
    this.#isKnown = isKnown
    clock.onStep = () => this.#stepped()
    peers.handle(PeerMessage.clock, () => encodeTimes(clock.machineMs, versions.reachedMs))
    this.#unlisten = peers.onLink((peer, isLinked) => {
      if (isLinked) void this.#ask(peer)
    })
    this.#doubt()
  }

  /** Begins to ask in turn; who is linked is asked from the beginning. Once. */
  start(): void {
    if (this.#decision !== undefined) this.#doubt()
    this.#tick()
  }

  /** Milliseconds by which most other members are ahead; negative: behind; 0 within bounds. */
  get offMs(): number {
    this.#look()
    return this.#offMs
  }

  /** True while it takes no writes because no other member agrees with its clock yet. */
  get isUnconfirmed(): boolean {
    return this.offMs === 0 && !this.#isKnown && this.#decision === undefined
  }

  /**
   * Undefined when this node may version and judge writes; resolves when it is worth asking again,
   * CLOCK_WAIT_MS from now at the latest. Throws UnavailableError when it must not.
   */
  ready(): Promise<void> | undefined {
    const { offMs } = this
    if (this.isUnconfirmed) throw new UnavailableError(UNKNOWN)
    if (offMs === 0) return this.#decision
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
    this.#decide()
  }

  /** Looks whether the clock was set. */
  #look(): number {
    return this.#options.clock.machineMs
  }

  #tickLater(): void {
    const { clock } = this.#options
    const delayMs = this.#decision === undefined ? TICK_MS : UNDECIDED_TICK_MS
    this.#cancelTick = clock.setTimer(delayMs, () => this.#tick(), { background: true })
  }

  #tick(): void {
    this.#look()
    this.#judge()
    if (this.#decision !== undefined) this.#askAll()
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
  #stepped(): void {
    if (this.#isClosed) return
    this.#steps++
    this.#measured.clear()
    this.#asking.clear()
    this.#offMs = 0
    this.#doubt()
    this.#judge()
    this.#askAll()
    if (this.#decision === undefined) return
    this.#cancelTick()
    this.#tickLater()
  }

  #askAll(): void {
    for (const node of this.#others()) if (!this.#measured.has(node)) void this.#ask(node)
  }

  /** From now on it is undecided, for CLOCK_WAIT_MS at most. */
  #doubt(): void {
    this.#cancelWait()
    this.#decision ??= new Promise(resolve => {
      this.#resolveDecision = resolve
    })
    const { clock } = this.#options
    const giveUp = (): void => {
      if (!this.#isKnown) this.#options.logger.error(UNKNOWN)
      this.#decide()
    }
    this.#cancelWait = clock.setTimer(CLOCK_WAIT_MS, giveUp, { background: true })
  }

  #decide(): void {
    this.#cancelWait()
    this.#decision = undefined
    this.#resolveDecision()
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
      const nowMs = this.#look()
      if (this.#isClosed || this.#steps !== steps || 2 * halfMs > ROUND_TRIP_MAX_MS) return
      const times = decodeTimes(answer)
      const aheadMs = times.wallMs + halfMs - nowMs
      this.#measured.set(node, { aheadMs, reachedMs: times.reachedMs + halfMs - nowMs })
      this.#judge()
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      logger.debug('a member did not tell its time', { node, error })
    } finally {
      if (this.#steps === steps) this.#asking.delete(node)
    }
  }

  #judge(): void {
    const { clock } = this.#options
    const others = this.#others()
    const count = others.length + 1
    const measured = others.flatMap(node => this.#measured.get(node) ?? [])
    const differences = measured.map(({ aheadMs }) => aheadMs)
    const agreeing = differences.filter(aheadMs => Math.abs(aheadMs) <= CLOCK_OFF_MS)
    const isConfirmed = 2 * (agreeing.length + 1) > count
    // The clock that this machine had before it was set speaks, too, but not against a majority.
    const before = isConfirmed || clock.doubtMs === 0 ? [] : [-clock.doubtMs]
    this.#offMs = awayFrom([...differences, ...before], count)
    if (this.#offMs !== 0) clock.setDoubt(-this.#offMs)
    else if (isConfirmed) clock.believe()
    const isAsked = measured.length === others.length
    const isDecided = this.#offMs !== 0 || isConfirmed || isAsked
    // One that is off is not known before it agrees.
    this.#isKnown ||= agreeing.length > 0 || isConfirmed || (isAsked && this.#offMs === 0)
    if (isDecided) this.#decide()
    if (this.#offMs !== 0 || isConfirmed) this.#judgeVersions(measured, count)
    this.#say(differences.length - agreeing.length)
  }

  /** Of what the versions of members have reached. Requires that the time is known. */
  #judgeVersions(measured: readonly Measured[], count: number): void {
    const { clock, versions, logger } = this.#options
    const nowMs = clock.wallMs()
    const ownMs = versions.reachedMs - nowMs
    const leads = [ownMs, ...measured.map(({ reachedMs }) => reachedMs + clock.doubtMs)]
    leads.sort((one, other) => other - one)
    // So far more than half of the members are.
    const commonMs = leads[Math.floor(count / 2)] ?? 0
    const leadMs = commonMs > CLOCK_OFF_MS ? Math.floor(commonMs) : 0
    versions.setLead(leadMs)
    if (ownMs <= leadMs + CLOCK_OFF_MS) return
    const fields = { aheadMs: Math.round(ownMs - leadMs) }
    logger.warn('versions of this node were ahead of all others; new ones go by the time', fields)
    versions.setBack(Math.floor(nowMs + leadMs))
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

/** How far more than half of `count` are away in one direction, the least of them; else 0. */
function awayFrom(differences: readonly number[], count: number): number {
  const ahead = differences.filter(aheadMs => aheadMs > CLOCK_OFF_MS)
  const behind = differences.filter(aheadMs => aheadMs < -CLOCK_OFF_MS)
  const most = [ahead, behind].find(({ length }) => 2 * length > count) ?? []
  // The least of them: that is how far it must be set at least.
  return most.reduce(
    (least, aheadMs) => (Math.abs(aheadMs) < Math.abs(least) ? aheadMs : least),
    most[0] ?? 0,
  )
}

function encodeTimes(wallMs: number, reachedMs: number): Uint8Array {
  return new ByteWriter(16).uint64(Math.floor(wallMs)).uint64(Math.floor(reachedMs)).written
}

function decodeTimes(body: Uint8Array): { readonly wallMs: number; readonly reachedMs: number } {
  return decoded('time', () => {
    const reader = new ByteReader(body)
    const wallMs = reader.uint64()
    const reachedMs = reader.uint64()
    reader.expectEnd()
    return { wallMs, reachedMs }
  })
}
