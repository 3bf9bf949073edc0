/**
 * The changes of this node's copies, page by page, for those who watch keys from outside: the admin
 * command `changes`. A watch is a place in the node's change feed that is kept between two calls,
 * and a hold on the log behind it, so that whoever comes back in time has missed nothing.
 *
 *   changes { prefix, watch?, after?, waitMs? } -> { watch, after, changes: [...] }
 *
 * Without `watch` and `after` a watch begins with what is written from now on. Each call names the
 * `after` of the last page that it has; the log is kept from there on. A call that names a watch
 * that is gone goes on from `after`, too, while the log has it: else KV_CHANGES_GONE.
 *
 * Invariants:
 *  1. Changes of a watch come in the order in which this node made them, each once, without a gap.
 *  2. Nothing is given out that a crash could take back (see the engine's change feed).
 *  3. At most WATCHES_MAX watches hold the log, each of them IDLE_MS at most after its last call.
 */
import { DecodeError } from '../bytes.ts'
import { type CancelTimer, type Clock, yieldToEventLoop } from '../clock.ts'
import type { ChangeBatch, ChangeFeed, Db, WalHold } from '../engine/index.ts'
import {
  AbortedError,
  ChangesGoneError,
  failUnlessKv,
  InvalidArgumentError,
  OverloadedError,
} from '../errors.ts'
import type { Random } from '../random.ts'
import { enginePartition, isNodeKey, PARTITION_SIZE } from './partition.ts'
import {
  checkStored,
  expiryMs,
  isTombstone,
  storedHeadEnd,
  storedVersion,
} from './versioned-value.ts'

const WATCHES_MAX = 32
const IDLE_MS = 60_000
const SWEEP_MS = 5000
const WAIT_MS_MAX = 20_000
/** Once there is something to tell, what follows at once comes along. */
const GATHER_MS = 5
/** A page is full with so many changes or bytes. */
const PAGE_COUNT = 1000
const PAGE_BYTES = 256 * 1024
/** Looked at between two turns of the event loop. */
const OPERATIONS_PER_TURN = 500
/** A larger value is left out of the page: whoever wants it reads it. */
const VALUE_BYTES_MAX = 64 * 1024

/** JSON-serialisable. */
export interface WatchedChange {
  readonly type: 'put' | 'del'
  /** Base64, as are the value and the version. */
  readonly key: string
  /** Absent for a deletion, and where it is too large for a page. */
  readonly value?: string
  readonly valueBytes?: number
  readonly version: string
  /** Milliseconds since the Unix epoch; absent for never. */
  readonly expiryMs?: number
}

/** JSON-serialisable. */
export interface WatchedPage {
  readonly watch: string
  /** To be named by the next call. */
  readonly after: number
  readonly changes: readonly WatchedChange[]
}

export interface ChangeWatchesOptions {
  readonly db: Pick<Db, 'changes' | 'holdWal' | 'sequence'>
  readonly clock: Clock
  readonly random: Random
  readonly partitionCount: number
}

/** Operations of a batch that are to be looked at yet. */
interface Rest {
  readonly batch: ChangeBatch
  index: number
}

interface Watch {
  readonly id: string
  readonly hold: WalHold
  feed: ChangeFeed
  /** The last sequence that was given out, or passed over. */
  after: number
  rest: Rest | undefined
  /** The next batch, while it is waited for. */
  pending: Promise<ChangeBatch | undefined> | undefined
  /** Counts the calls: only the last one goes on. */
  turn: number
  usedMs: number
}

export class ChangeWatches {
  readonly #options: ChangeWatchesOptions
  readonly #watches = new Map<string, Watch>()
  #cancelSweep: CancelTimer | undefined

  constructor(options: ChangeWatchesOptions) {
    this.#options = options
  }

  /** Throws InvalidArgumentError when the command is not as it should be. */
  async read(command: Readonly<Record<string, unknown>>, deadlineMs: number): Promise<WatchedPage> {
    const { clock } = this.#options
    const prefix = watchedPrefix(command)
    const waitMs = wholeNumber(command, 'waitMs') ?? 0
    const { watch, after } = this.#watchOf(command)
    const turn = ++watch.turn
    if (watch.hold.broken) {
      await this.#end(watch)
      throw new ChangesGoneError('the log had become too long: what follows is not known')
    }
    if (watch.after !== after) await this.#rewind(watch, after)
    if (watch.turn !== turn) throw overtaken()
    watch.hold.advance(after + 1)
    const nowMs = clock.monotonicMs()
    // Something must be left for the way back.
    const untilMs = nowMs + Math.min(waitMs, WAIT_MS_MAX, Math.max(0, (deadlineMs - nowMs) * 0.8))
    try {
      return await this.#page(watch, turn, prefix, untilMs)
    } finally {
      watch.usedMs = clock.monotonicMs()
    }
  }

  /** The watch that is meant, and where its reader stands. */
  #watchOf(command: Readonly<Record<string, unknown>>): { watch: Watch; after: number } {
    const id = command['watch']
    const after = wholeNumber(command, 'after')
    const known = typeof id === 'string' ? this.#watches.get(id) : undefined
    if (known === undefined) {
      const begun = this.#begin(after)
      return { watch: begun, after: begun.after }
    }
    if (after === undefined) {
      throw new InvalidArgumentError("'after' is missing: that of the last page")
    }
    if (after < known.hold.sequence - 1 || after > known.after) {
      throw new InvalidArgumentError(`'after' ${after} is not that of a page of this watch`)
    }
    return { watch: known, after }
  }

  #begin(after: number | undefined): Watch {
    const { db, clock, random } = this.#options
    if (this.#watches.size >= WATCHES_MAX) {
      throw new OverloadedError(`${WATCHES_MAX} watches are open on this node already`, IDLE_MS)
    }
    const from = after ?? db.sequence
    if (from > db.sequence) {
      throw new ChangesGoneError(`this database has not come to sequence ${from}: it is another`)
    }
    const hold = db.holdWal(from + 1)
    const watch: Watch = {
      id: Buffer.from(random.bytes(16)).toString('hex'),
      hold,
      feed: db.changes({ after: from }),
      after: from,
      rest: undefined,
      pending: undefined,
      turn: 0,
      usedMs: clock.monotonicMs(),
    }
    this.#watches.set(watch.id, watch)
    this.#cancelSweep ??= this.#scheduleSweep()
    return watch
  }

  /** The last page was lost on its way: what it had is read again. */
  async #rewind(watch: Watch, after: number): Promise<void> {
    const { feed } = watch
    watch.feed = this.#options.db.changes({ after })
    watch.after = after
    watch.rest = undefined
    watch.pending = undefined
    await feed.close()
  }

  async #page(
    watch: Watch,
    turn: number,
    prefix: Uint8Array,
    untilMs: number,
  ): Promise<WatchedPage> {
    const { clock } = this.#options
    const changes: WatchedChange[] = []
    let bytes = 0
    let dueMs = untilMs
    for (let looked = 1; changes.length < PAGE_COUNT && bytes < PAGE_BYTES; looked++) {
      if (watch.rest === undefined) await this.#nextBatch(watch, dueMs)
      else if (looked % OPERATIONS_PER_TURN === 0) await yieldToEventLoop()
      if (watch.turn !== turn) throw overtaken()
      if (watch.rest === undefined) break
      const change = this.#take(watch, watch.rest, prefix)
      if (change !== undefined) {
        changes.push(change)
        bytes += change.key.length + (change.value?.length ?? 0)
        dueMs = Math.min(untilMs, clock.monotonicMs() + GATHER_MS)
      }
      // Others may write faster than this reads, and none of it is watched.
      if (looked % OPERATIONS_PER_TURN === 0 && clock.monotonicMs() > untilMs) break
    }
    return { watch: watch.id, after: watch.after, changes }
  }

  /** Lets the watch have it, if there is one by then. */
  async #nextBatch(watch: Watch, dueMs: number): Promise<void> {
    const { clock } = this.#options
    watch.pending ??= watch.feed.next().then(({ value }) => value)
    const { pending } = watch
    // Whoever waits for it next is told, should nobody wait by then.
    pending.catch(ignore)
    let cancel: CancelTimer | undefined
    const tooLate = new Promise<undefined>(resolve => {
      const delayMs = Math.max(0, dueMs - clock.monotonicMs())
      cancel = clock.setTimer(delayMs, () => resolve(undefined))
    })
    try {
      const batch = await Promise.race([pending, tooLate])
      if (batch === undefined || watch.pending !== pending) return
      watch.pending = undefined
      watch.rest = { batch, index: 0 }
    } catch (error) {
      await this.#end(watch)
      throw error
    } finally {
      cancel?.()
    }
  }

  /** The next operation of the batch, where it is a change of a user's key that is watched. */
  #take(watch: Watch, rest: Rest, prefix: Uint8Array): WatchedChange | undefined {
    const { batch } = rest
    const operation = batch.operations[rest.index]
    const sequence = batch.sequence + rest.index++
    const isSeen = sequence <= watch.after
    watch.after = Math.max(watch.after, Math.min(sequence, batch.lastSequence))
    if (rest.index >= batch.operations.length) {
      watch.rest = undefined
      watch.after = Math.max(watch.after, batch.lastSequence)
    }
    // What a node removes itself is no change: a user's deletion is a value, too.
    if (isSeen || operation?.type !== 'put') return undefined
    const { key, value } = operation
    if (isNodeKey(key) || enginePartition(key) >= this.#options.partitionCount) return undefined
    if (!beginsWith(key, prefix)) return undefined
    return changeOf(key.subarray(PARTITION_SIZE), value)
  }

  #scheduleSweep(): CancelTimer {
    return this.#options.clock.setTimer(SWEEP_MS, () => this.#sweep(), { background: true })
  }

  #sweep(): void {
    const nowMs = this.#options.clock.monotonicMs()
    for (const watch of this.#watches.values()) {
      // A call waits for less than that.
      if (nowMs - watch.usedMs > IDLE_MS) this.#end(watch).catch(failUnlessKv)
    }
    this.#cancelSweep = this.#watches.size === 0 ? undefined : this.#scheduleSweep()
  }

  async #end(watch: Watch): Promise<void> {
    this.#watches.delete(watch.id)
    watch.turn++
    watch.hold.release()
    await watch.feed.close()
  }

  /** Ends all watches. Idempotent. */
  async close(): Promise<void> {
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
    await Promise.all([...this.#watches.values()].map(watch => this.#end(watch)))
  }
}

function ignore(): void {}

function overtaken(): AbortedError {
  return new AbortedError('another call reads this watch by now')
}

/** Of the command `changes`. Throws InvalidArgumentError when there is none. */
export function watchedPrefix({ prefix }: Readonly<Record<string, unknown>>): Uint8Array {
  if (typeof prefix === 'string') return new Uint8Array(Buffer.from(prefix, 'base64'))
  throw new InvalidArgumentError("the command 'changes' has a 'prefix', as base64")
}

function wholeNumber(command: Readonly<Record<string, unknown>>, name: string): number | undefined {
  const value = command[name]
  if (value === undefined) return undefined
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new InvalidArgumentError(`'${name}' must be a whole number from 0 on`)
}

/** Whether the user's part of an engine key begins with the prefix. */
function beginsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  if (key.length < PARTITION_SIZE + prefix.length) return false
  return prefix.every((byte, index) => key[PARTITION_SIZE + index] === byte)
}

/** Undefined for what is no stored form: anti-entropy mends it. */
function changeOf(key: Uint8Array, stored: Uint8Array): WatchedChange | undefined {
  try {
    checkStored(stored)
  } catch (error) {
    if (error instanceof DecodeError) return undefined
    throw error
  }
  const common = { key: base64(key), version: base64(storedVersion(stored)) }
  if (isTombstone(stored)) return { type: 'del', ...common }
  const value = stored.subarray(storedHeadEnd(stored, 0, stored.length))
  const expires = expiryMs(stored)
  return {
    type: 'put',
    ...common,
    valueBytes: value.length,
    ...(value.length > VALUE_BYTES_MAX ? {} : { value: base64(value) }),
    ...(expires === 0 ? {} : { expiryMs: expires }),
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}
