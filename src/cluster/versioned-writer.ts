/**
 * Writes to the store so that of two writes to a key the one with the later version stays,
 * whatever the order in which they arrive.
 *
 * The store keeps what was submitted last. A write whose version is known to be the greatest so far
 * for its keys (latest-versions.ts) is simply submitted. Another one, a retry above all, may be
 * older than what is there: then the key is read first, and the write is left out when it has lost.
 * It is acknowledged all the same, once what it lost against is visible and as durable as it asked
 * to be itself.
 *
 * With other replicas one that has lost is not left out: what it lost against is written again in
 * its place, as what this node owes them from now on. Nobody else may owe it: a coordinator sends a
 * write out while it makes it durable itself, and may have died before it was; the client then asks
 * another replica, which has it. So much for what is not too much: a retry at least, whose bytes
 * are those that came.
 *
 * The store shows a write only when it is durable, so what is still on its way is kept here.
 *
 * A write of very many operations is prepared over several turns of the event loop. From its first
 * turn on its keys are locked one after another, so that other writes to them wait. Once all are,
 * its version is fixed, the keys for which that may not be the latest are compared, and others to
 * its keys come behind it.
 *
 * Invariants:
 *  1. For each key, stored versions are submitted to the store in ascending order.
 *  2. While a key is being compared no other write to it is submitted.
 *  3. At most one large write is prepared at a time (its caller sees to it). It waits for locks of
 *     compared writes, which wait for nothing while they hold theirs.
 *  4. One version cannot order two operations on a key: of those in one call the last is written.
 */

import { assert } from '../assert.ts'
import { attempt } from '../attempt.ts'
import { equalBytes } from '../bytes.ts'
import type { Durability } from '../key-value-store.ts'
import { InFlightWrites, type OrderedWrite } from './in-flight-writes.ts'
import { KeyLocks } from './key-locks.ts'
import type { LargeWrite } from './large-write.ts'
import { keyName, lastOfKeys } from './last-of-keys.ts'
import { PreparingWrites } from './preparing-writes.ts'
import type { MaybePromise, Store, StorePut } from './store.ts'
import { hasLost, isIntact } from './stored-entries.ts'
import { compareStored } from './versioned-value.ts'
import type { WriteDuties } from './write-duties.ts'

/** Keys of an update that are read at once: the store refuses what is too much, always again. */
const READS_AT_ONCE = 256
/** Operations of a large write between two looks at the clock. */
const OPERATIONS_PER_LOOK = 32
/** Writes of others that one waits for before it owes anybody what is there. */
const ROUNDS_MAX = 8
/** Bytes that one write takes on to write again of what it lost against. */
const WINNER_BYTES_MAX = 1024 * 1024

/** A write that is compared; the names of its keys correspond by index, too. */
interface ComparedWrite extends OrderedWrite {
  readonly names: readonly string[]
}

/** What follows from the stored forms of the keys of an update. */
export interface UpdateDecision<T> {
  readonly result: T
  /** What is written, keys and stored forms by index. The buffers are taken over. */
  readonly keys: readonly Uint8Array[]
  readonly stored: readonly Uint8Array[]
}

/** Gets the stored forms of the keys, borrowed. What it throws, the update fails with. */
export type DecideUpdate<T> = (currents: readonly (Uint8Array | undefined)[]) => UpdateDecision<T>

export interface Updated<T> {
  readonly result: T
  /** Settles once all that was seen and written is durable; undefined: it is. */
  readonly done: Promise<void> | undefined
}

interface Update<T> {
  readonly keys: readonly Uint8Array[]
  readonly names: readonly string[]
  readonly decide: DecideUpdate<T>
  readonly durability: Durability | undefined
}

export interface VersionedWriterStats {
  /** Writes whose keys were read first. */
  readonly compared: number
  /** Operations that lost against what was there. */
  readonly superseded: number
}

export interface VersionedWriterOptions {
  readonly store: Store
  /** When the engine may forget a stored form: milliseconds since the Unix epoch, 0 for never. */
  readonly forgetMs: (stored: Uint8Array) => number
  /** What a write is compared with. Absent: what the store reads. */
  readonly current?: (key: Uint8Array) => MaybePromise<Uint8Array | undefined>
  /** Told the name of every key (last-of-keys.ts) once a write to it is over; absent: nobody is. */
  readonly onOver?: (names: Iterable<string>) => void
  /** Resolves once everything submitted before it is as durable as asked. */
  readonly barrier: (durability: Durability | undefined) => Promise<void>
}

export class VersionedWriter {
  /** What was asked for here, or is about to be, and may not be submitted yet. */
  readonly preparing = new PreparingWrites()
  readonly #options: VersionedWriterOptions
  readonly #inFlight: InFlightWrites
  readonly #locks = new KeyLocks()
  #compared = 0
  #superseded = 0

  constructor(options: VersionedWriterOptions) {
    this.#options = options
    this.#inFlight = new InFlightWrites(options.onOver)
  }

  get stats(): VersionedWriterStats {
    return { compared: this.#compared, superseded: this.#superseded }
  }

  /**
   * All operations or none. `isNewest` says that their version is greater than every other that
   * their keys were given before. Takes over the buffers: they must not change any more.
   */
  write(
    keys: readonly Uint8Array[],
    stored: readonly Uint8Array[],
    isNewest: boolean,
    durability: Durability | undefined,
    duties?: WriteDuties,
  ): Promise<void> {
    assert(keys.length === stored.length, 'every key has a stored form')
    const last = lastOfKeys(keys)
    const all = { keys, stored, durability, duties }
    const write = last === undefined ? all : selectIndices(all, last)
    duties?.asked(write.keys, write.stored)
    if (isNewest && this.#locks.isEmpty) return this.#submit(write)
    const named = { ...write, names: write.keys.map(keyName) }
    if (!isNewest) this.#compared++
    else if (this.#locks.on(named.names).length === 0) return this.#submit(write)
    return this.preparing.track(this.#compareAndSubmit(named))
  }

  async #compareAndSubmit(asked: ComparedWrite): Promise<void> {
    let write = asked
    for (let round = 0; ; round++) {
      // From the moment at which nothing is left to wait for to the submission, or to the lock,
      // nothing else is submitted.
      const locks = this.#locks.on(write.names)
      if (locks.length > 0) await Promise.all(locks)
      else if (this.#isNewestInFlight(write)) break
      else write = await this.#withoutLost(write, round)
    }
    const { keys, names } = write
    const currents = names.map((name, index) =>
      attempt(() => this.#inFlight.last(name)?.stored ?? this.#current(keys[index]!)),
    )
    if (!currents.some(current => current instanceof Promise)) {
      return this.#submitNewer(write, currents as (Uint8Array | undefined)[])
    }
    const release = this.#locks.lock(names)
    try {
      return this.#submitNewer(write, await Promise.all(currents))
    } finally {
      release()
    }
  }

  /**
   * Lets `decide` see what is stored under the keys once everything submitted so far is over, and
   * writes what it returns: nothing comes between. Answers directly when memory has all of it.
   * Requires that the keys differ, and that what is written has the greatest version of its key.
   */
  update<T>(
    keys: readonly Uint8Array[],
    decide: DecideUpdate<T>,
    durability: Durability | undefined,
  ): MaybePromise<Updated<T>> {
    const update = { keys, names: keys.map(keyName), decide, durability }
    return this.#locks.isEmpty ? this.#updateNow(update) : this.#updateLater(update)
  }

  async #updateLater<T>(update: Update<T>): Promise<Updated<T>> {
    const { names } = update
    for (let on = this.#locks.on(names); on.length > 0; on = this.#locks.on(names)) {
      await Promise.all(on)
    }
    return this.#updateNow(update)
  }

  /** Requires that none of the keys is locked. */
  #updateNow<T>(update: Update<T>): MaybePromise<Updated<T>> {
    const currents: (Uint8Array | undefined)[] = []
    while (currents.length < update.keys.length) {
      const some = this.#currentsOf(update, currents.length)
      if (some.some(current => current instanceof Promise)) {
        return this.#readOn(update, currents, some)
      }
      currents.push(...(some as (Uint8Array | undefined)[]))
    }
    return this.#decide(update, currents)
  }

  /** Locks the keys; waits for `begun`, read in this very step behind `currents`, and the rest. */
  async #readOn<T>(
    update: Update<T>,
    currents: (Uint8Array | undefined)[],
    begun: readonly MaybePromise<Uint8Array | undefined>[],
  ): Promise<Updated<T>> {
    const release = this.#locks.lock(update.names)
    try {
      for (let some = begun; some.length > 0; some = this.#currentsOf(update, currents.length)) {
        currents.push(...(await Promise.all(some)))
      }
      return this.#decide(update, currents)
    } finally {
      release()
    }
  }

  /** Of the next keys from `start` on. */
  #currentsOf(
    { keys, names }: Update<unknown>,
    start: number,
  ): MaybePromise<Uint8Array | undefined>[] {
    return names
      .slice(start, start + READS_AT_ONCE)
      .map((name, at) =>
        attempt(() => this.#inFlight.last(name)?.stored ?? this.#current(keys[start + at]!)),
      )
  }

  /** Requires that the keys are locked, or that the currents were read in this very step. */
  #decide<T>(update: Update<T>, currents: readonly (Uint8Array | undefined)[]): Updated<T> {
    const { names, decide, durability } = update
    const { result, keys, stored } = decide(currents)
    // What was seen counts only if it comes to be.
    const awaited = new Set<Promise<void>>()
    for (const name of names) {
      const rival = this.#inFlight.last(name)
      if (rival !== undefined) awaited.add(rival.group.done)
    }
    if (keys.length > 0) {
      awaited.add(this.#submit({ keys, stored, durability, duties: undefined }))
    }
    const [first] = awaited
    return { result, done: awaited.size > 1 ? allDone(awaited) : first }
  }

  /**
   * Deletes the keys that still hold exactly these stored forms, which nobody needs any more;
   * resolves to how many did. Nothing is owed to anybody for it.
   */
  async purge(keys: readonly Uint8Array[], stored: readonly Uint8Array[]): Promise<number> {
    const { store } = this.#options
    const names = keys.map(keyName)
    for (let on = this.#locks.on(names); on.length > 0; on = this.#locks.on(names)) {
      await Promise.all(on)
    }
    const release = this.#locks.lock(names)
    try {
      const currents = await Promise.all(keys.map(key => attempt(() => store.read(key))))
      const gone = keys.filter((_, at) => {
        const current = currents[at]
        if (current === undefined || this.#inFlight.last(names[at]!) !== undefined) return false
        return equalBytes(current, stored[at]!)
      })
      // What a crash brings back is purged again.
      const deletes = gone.map(key => ({ type: 'del', key }) as const)
      if (deletes.length > 0) await store.write(deletes, { durability: 'none' })
      return gone.length
    } finally {
      release()
    }
  }

  /**
   * All operations or none, under a version that it gets when all its keys are locked. Resolves to
   * the promise of the write, in an object, once it was submitted. Requires that no other large
   * write is being prepared.
   */
  async writeLarge(write: LargeWrite): Promise<{ readonly done: Promise<void> }> {
    const last = new Map<string, number>()
    const release = this.#locks.lockLarge(last)
    try {
      await this.#lockLarge(write, last)
      return await this.#submitLarge(write, last)
    } finally {
      release()
    }
  }

  async #lockLarge(write: LargeWrite, last: Map<string, number>): Promise<void> {
    for (let at = 0; at < write.count; at++) {
      const pause = at % OPERATIONS_PER_LOOK === 0 ? write.pause() : undefined
      if (pause !== undefined) await pause
      const name = keyName(write.keyAt(at))
      for (let lock = this.#locks.comparing(name); lock !== undefined; ) {
        await lock
        lock = this.#locks.comparing(name)
      }
      last.set(name, at)
    }
  }

  async #submitLarge(
    write: LargeWrite,
    last: Map<string, number>,
  ): Promise<{ readonly done: Promise<void> }> {
    const { store, forgetMs } = this.#options
    const begun = write.begin()
    if (begun !== undefined) await begun
    await this.#dropLost(write, last)
    if (last.size === 0) return { done: this.#options.barrier(write.durability) }
    const logData = await this.#largeLogData(write, last)
    const prepared = store.prepareWrite(last.size, logData)
    const index = new Map<string, Uint8Array>()
    const owed: { keys: Uint8Array[]; stored: Uint8Array[] } = { keys: [], stored: [] }
    let count = 0
    for (const [name, at] of last) {
      const pause = count++ % OPERATIONS_PER_LOOK === 0 ? write.pause() : undefined
      if (pause !== undefined) await pause
      const stored = write.storedAt(at)
      const key = write.keyAt(at)
      prepared.put(key, stored, forgetMs(stored))
      index.set(name, stored)
      if (write.duties === undefined) continue
      owed.keys.push(key)
      owed.stored.push(stored)
    }
    const done = prepared.commit({ durability: write.durability })
    this.#inFlight.addLarge(done, index, write.duties)
    write.duties?.submitted(owed.keys, owed.stored)
    return { done }
  }

  async #largeLogData(
    write: LargeWrite,
    last: ReadonlyMap<string, number>,
  ): Promise<Uint8Array | undefined> {
    const { duties } = write
    if (duties === undefined) return undefined
    let count = 0
    for (const at of last.values()) {
      const pause = count++ % OPERATIONS_PER_LOOK === 0 ? write.pause() : undefined
      if (pause !== undefined) await pause
      duties.add(write.keyAt(at))
    }
    return duties.logData
  }

  /** Leaves out the operations that have lost against what is there, or on its way. */
  async #dropLost(write: LargeWrite, last: Map<string, number>): Promise<void> {
    let count = 0
    let compared = 0
    for (const [name, at] of last) {
      const pause = count++ % OPERATIONS_PER_LOOK === 0 ? write.pause() : undefined
      if (pause !== undefined) await pause
      if (write.isLatestAt(at)) continue
      compared++
      const isOwed = write.duties !== undefined
      if (!(await this.#hasLostLarge(name, write.keyAt(at), write.storedAt(at), isOwed))) continue
      last.delete(name)
      write.duties?.lost(write.keyAt(at), write.storedAt(at))
      this.#superseded++
    }
    if (compared > 0) this.#compared++
  }

  /** Requires that the key is locked. */
  async #hasLostLarge(
    name: string,
    key: Uint8Array,
    stored: Uint8Array,
    isOwed: boolean,
  ): Promise<boolean> {
    for (let rival = this.#inFlight.last(name); rival !== undefined; ) {
      if (compareStored(stored, rival.stored) > 0) return false
      if ((await rival.group.over) && (rival.isOwed || !isOwed)) return true
      rival = this.#inFlight.last(name)
    }
    const current = await this.#current(key)
    if (current === undefined || !isIntact(current)) return false
    const order = compareStored(stored, current)
    return isOwed ? order < 0 : order <= 0
  }

  #current(key: Uint8Array): MaybePromise<Uint8Array | undefined> {
    const { store, current } = this.#options
    return current === undefined ? store.read(key) : current(key)
  }

  #isNewestInFlight(write: ComparedWrite): boolean {
    return write.names.every((name, index) => {
      const last = this.#inFlight.last(name)
      return last === undefined || compareStored(write.stored[index]!, last.stored) > 0
    })
  }

  /** What is left once the writes on their way are over that this one loses against. */
  async #withoutLost(write: ComparedWrite, round: number): Promise<ComparedWrite> {
    // A key that does not come to rest is owed by whoever writes to it.
    const mayWait = write.duties !== undefined && round < ROUNDS_MAX
    const lost = await Promise.all(
      write.names.map(async (name, index) => {
        const last = this.#inFlight.last(name)
        if (last === undefined || compareStored(write.stored[index]!, last.stored) > 0) return false
        // It may yet fail, and then this one has lost nothing.
        const isThere = await last.group.over
        return isThere && (last.isOwed || !mayWait)
      }),
    )
    return this.#select(write, index => !lost[index])
  }

  /** Leaves out what has lost against what is there, or owes what is there in its place. */
  #submitNewer(write: ComparedWrite, currents: readonly (Uint8Array | undefined)[]): Promise<void> {
    const winners = write.duties === undefined ? [] : this.#winners(write, currents)
    const newer = this.#select(
      { ...write, stored: write.stored.map((form, index) => winners[index] ?? form) },
      index => winners[index] !== undefined || !hasLost(write.stored[index]!, currents[index]),
    )
    if (newer.names.length > 0) return this.#submit(newer)
    return this.#options.barrier(newer.durability)
  }

  /** By index what is written again, in the place of what has lost against it. */
  #winners(
    write: ComparedWrite,
    currents: readonly (Uint8Array | undefined)[],
  ): (Uint8Array | undefined)[] {
    let bytes = 0
    return write.stored.map((form, index) => {
      const current = currents[index]
      if (!hasLost(form, current)) return undefined
      // Of a retry the bytes are there already, as those that came.
      if (!equalBytes(form, current!)) bytes += current!.length
      if (bytes > WINNER_BYTES_MAX) return undefined
      this.#superseded++
      return current
    })
  }

  #select(write: ComparedWrite, isKept: (index: number) => boolean): ComparedWrite {
    const kept = [...write.names.keys()].filter(isKept)
    if (kept.length === write.names.length) return write
    this.#superseded += write.names.length - kept.length
    const names = kept.map(index => write.names[index]!)
    return { ...selectIndices(write, kept), names }
  }

  #submit(write: OrderedWrite): Promise<void> {
    const { keys, stored, durability, duties } = write
    const { store, forgetMs } = this.#options
    const operations = keys.map((key, index): StorePut => {
      const value = stored[index]!
      return { type: 'put', key, value, expiryMs: forgetMs(value) }
    })
    const extra = duties?.submitting(keys, stored)
    if (extra !== undefined) operations.push(...extra.puts)
    const done = store.write(operations, { durability, logData: extra?.logData })
    this.#inFlight.add(done, write)
    return done
  }
}

async function allDone(promises: Iterable<Promise<void>>): Promise<void> {
  await Promise.all(promises)
}

function selectIndices(write: OrderedWrite, indices: readonly number[]): OrderedWrite {
  const { keys, stored, durability, duties } = write
  return {
    keys: indices.map(index => keys[index]!),
    stored: indices.map(index => stored[index]!),
    durability,
    duties,
  }
}
