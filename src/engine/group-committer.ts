/**
 * Commits one group of writes after another for the write queue: room, the frame on its way to the
 * disk, and meanwhile the entries into the memtable, invisible until both are over.
 */
import { assert } from '../assert.ts'
import { yieldToEventLoop } from '../clock.ts'
import { KvError } from '../errors.ts'
import type { ImmediateWriter } from './immediate-writer.ts'
import { SEQUENCE_MAX } from './internal-key.ts'
import type { WalFrameBuilder } from './wal-frame.ts'
import {
  insertEntries,
  insertLargeEntry,
  type WriteGroup,
  type WriteQueueHost,
} from './write-group.ts'

/**
 * Frames up to this many bytes are copied to the page cache within the call, about 10 us, instead
 * of through libuv's thread pool: a lone writer gets 1.3 times the commits (bench/compare).
 */
const SYNCHRONOUS_SIZE_MAX = 32 * 1024
/** Memtable inserts between two looks at the event loop: about half a millisecond. */
const INSERTS_PER_SLICE = 200
/** The same where range tombstones are among them: each moves the fragments behind it. */
const RANGE_INSERTS_PER_SLICE = 25
/** Bytes of them between the two; a single entry that is larger is copied in slices. */
const INSERT_BYTES_PER_SLICE = 256 * 1024

/** Somebody who waits for the memtable to be frozen. */
export interface FreezeWaiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class GroupCommitter {
  /** True while a group is being written, when nothing may be written beside it. */
  busy = false
  readonly #host: WriteQueueHost
  readonly #immediate: ImmediateWriter
  #groupCount = 0
  #operationCount = 0
  #syncCount = 0

  constructor(host: WriteQueueHost, immediate: ImmediateWriter) {
    this.#host = host
    this.#immediate = immediate
  }

  get stats(): { readonly groups: number; readonly operations: number; readonly syncs: number } {
    return { groups: this.#groupCount, operations: this.#operationCount, syncs: this.#syncCount }
  }

  /** Never rejects: failures go to the writers of the group, and to the state. */
  async commit(group: WriteGroup): Promise<void> {
    const { state } = this.#host
    const { builder } = group
    this.busy = true
    try {
      await this.#prepare(group)
    } catch (error) {
      this.busy = false
      group.reject(this.#refusalFor(error))
      return
    }
    // Ranges without a key in them come to nothing.
    if (builder.opCount === 0) {
      this.busy = false
      group.resolve()
      return
    }
    const firstSequence = state.lastSequence + 1
    group.firstSequence = firstSequence
    state.lastSequence += builder.entryCount
    assert(state.lastSequence < SEQUENCE_MAX, 'sequences last for centuries')
    // Both start now; the inserts overlap the disk, and must be over before anyone goes on.
    const durable = this.#makeDurable(group, firstSequence)
    const inserted = this.#insert(builder, firstSequence)
    const [written] = await Promise.allSettled([durable, inserted])
    if (written.status === 'rejected') {
      this.busy = false
      group.reject(this.#host.fail('the WAL could not be written', written.reason, 'unknown'))
      return
    }
    await inserted
    state.visibleSequence = state.lastSequence
    this.#groupCount++
    this.#operationCount += builder.entryCount
    this.busy = false
    group.resolve()
    this.#host.written()
    if (group.needsSync) this.#host.durable()
    else this.#immediate.syncLater()
  }

  async #prepare(group: WriteGroup): Promise<void> {
    const { builder } = group
    const refusal = await group.filling
    if (refusal !== undefined) throw refusal
    this.#immediate.flush()
    await this.#host.makeRoom(builder.entryCount, builder.size)
    this.#checkUsable()
  }

  async #makeDurable(group: WriteGroup, firstSequence: number): Promise<void> {
    const wal = this.#host.wal()
    if (group.builder.size <= SYNCHRONOUS_SIZE_MAX) wal.appendSync(group.builder, firstSequence)
    else await wal.append(group.builder, firstSequence)
    if (!group.needsSync) return
    this.#syncCount++
    await wal.sync()
  }

  async #insert(builder: WalFrameBuilder, firstSequence: number): Promise<void> {
    const count = builder.opCount
    const perSlice = builder.rangeCount === 0 ? INSERTS_PER_SLICE : RANGE_INSERTS_PER_SLICE
    let sequence = firstSequence
    const isLong = count > perSlice || builder.size > INSERT_BYTES_PER_SLICE
    for (let index = 0; index < count; ) {
      if (isLong) await yieldToEventLoop()
      const bytesEnd = builder.keyStart(index) + INSERT_BYTES_PER_SLICE
      const most = Math.min(index + perSlice, count)
      let end = index + 1
      while (end < most && builder.valueEnd(end) <= bytesEnd) end++
      const { state } = this.#host
      const isLarge = builder.valueEnd(index) - builder.keyEnd(index) > INSERT_BYTES_PER_SLICE
      sequence = isLarge
        ? await insertLargeEntry(builder, index, sequence, state)
        : insertEntries(builder, index, end, sequence, state)
      index = end
    }
  }

  /** Freezes the memtable, and answers those who wait for it. Never rejects. */
  async freeze(waiting: readonly FreezeWaiter[]): Promise<void> {
    this.busy = true
    try {
      this.#immediate.flush()
      this.#checkUsable()
      await this.#host.freeze()
      for (const { resolve } of waiting) resolve()
    } catch (error) {
      const reason = this.#refusalFor(error)
      for (const { reject } of waiting) reject(reason)
    }
    this.busy = false
  }

  #checkUsable(): void {
    const { failure } = this.#host.state
    if (failure !== undefined) throw failure
  }

  /** Nothing was written. Only a failing disk makes the failure lasting. */
  #refusalFor(error: unknown): Error {
    if (error instanceof KvError) return error
    return this.#host.fail('the WAL could not be continued', error, 'rejected')
  }
}
