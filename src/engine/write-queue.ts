/**
 * Group commit: waiting writes are encoded straight into one WAL frame, written and synced once,
 * and acknowledged together, while the next frame fills. (The idea is old: DeWitt et al. 1984; the
 * shape here, one loop and one shared promise a group, follows from Node's single thread.)
 *
 *   write -> frame of the open group -> one positional write -> one fdatasync -> visible, answered
 *                                       memtable inserts run meanwhile, invisible
 *
 * Invariants:
 *  1. Groups commit one after another, in the order in which they began to fill.
 *  2. An entry becomes visible only after the write that its durability asks for succeeded, and
 *     never before an entry with a smaller sequence.
 *  3. After a failed write or fsync nothing is ever written again (TreeState.poison): the writers
 *     of that group get `outcome: 'unknown'`, those behind it `'rejected'`.
 *  4. Queued bytes never exceed queuedBytesMax, but for a single batch; above it writes are refused
 *     with KV_OVERLOADED. By the MiB they are charged to the memory budget.
 *  5. Large batches are filled one at a time, each slice charged as it is made: the others hold
 *     nothing but their finished frames, or a place in the queue, of which there are GROUPS_MAX.
 */
import { endOfTick } from '../clock.ts'
import { ClosedError, InvalidArgumentError, KvError } from '../errors.ts'
import type { Durability } from '../key-value-store.ts'
import { checkBatchSize, SLICE_OPERATIONS } from './batch-operations.ts'
import type { SequenceRange } from './change-batch.ts'
import { type FreezeWaiter, GroupCommitter } from './group-committer.ts'
import { ImmediateWriter } from './immediate-writer.ts'
import { encodeBatch, gatherBatch, type OperationSource, sourceOf } from './large-batch.ts'
import { RANGE_COUNT_MAX } from './memtable.ts'
import { type CommitFrame, PreparedWrite } from './prepared-write.ts'
import { finalRefusal, tooManyBatches, tooManyBytes } from './queue-refusals.ts'
import { LARGE_SIZE_MIN } from './slices.ts'
import type { WalFrameBuilder } from './wal-frame.ts'
import {
  addOperations,
  createWalFrameBuilder,
  type EngineOperation,
  OPERATION_OVERHEAD,
  operationSize,
  QUEUE_STEP,
  WriteGroup,
  type WriteQueueHost,
} from './write-group.ts'

/** A group is closed to further writes at this many bytes, so that latency stays bounded. */
const GROUP_SIZE_TARGET = 1024 * 1024
/** Frames kept for reuse, so that their buffers are not allocated again for every group. */
const SPARE_BUILDERS_MAX = 4
/** A frame that grew beyond this is not kept. */
const SPARE_SIZE_MAX = 4 * GROUP_SIZE_TARGET

/**
 * A large batch is refused when so many groups wait: before it is filled it is charged for nothing.
 * They take 6 KiB each. (A thousand callers with one each, and as many small writes between them.)
 */
const GROUPS_MAX = 4096

export interface WriteQueueStats {
  readonly groups: number
  readonly operations: number
  readonly syncs: number
  readonly queuedBytes: number
}

export class WriteQueue {
  readonly #host: WriteQueueHost
  readonly #immediate: ImmediateWriter
  readonly #committer: GroupCommitter
  readonly #groups: WriteGroup[] = []
  readonly #spareBuilders: WalFrameBuilder[] = []
  /** The group that still takes writes: always the last of #groups, if any. */
  #open: WriteGroup | undefined
  #running: Promise<void> | undefined
  /** Those who wait for freeze(). */
  readonly #freezes: FreezeWaiter[] = []
  #closed = false
  #queuedBytes = 0
  /** The large batch that is filled last; see invariant 5. */
  #lastFilling: Promise<unknown> = Promise.resolve()

  constructor(host: WriteQueueHost) {
    this.#host = host
    this.#immediate = new ImmediateWriter(host)
    this.#committer = new GroupCommitter(host, this.#immediate)
  }

  get stats(): WriteQueueStats {
    const { groups, operations, syncs } = this.#committer.stats
    return {
      groups,
      operations: operations + this.#immediate.operationCount,
      syncs,
      queuedBytes: this.#queuedBytes,
    }
  }

  /** Whether acknowledged writes wait for a sync, which comes within the interval or at close. */
  get isBehind(): boolean {
    return this.#immediate.isBehind
  }

  /**
   * Resolves when the put is as durable as asked. `expiryMs` 0 is never. Borrows the bytes of a
   * large one (LARGE_SIZE_MIN) until then.
   */
  put(key: Uint8Array, value: Uint8Array, expiryMs: number, durability: Durability): Promise<void> {
    if (value.length > LARGE_SIZE_MIN) return this.#largePut(key, value, expiryMs, durability)
    const size = key.length + value.length + OPERATION_OVERHEAD
    const now = this.#canWriteNow(1, size, durability)
    const refusal = now ? undefined : this.#refusal(size)
    if (refusal !== undefined) return Promise.reject(refusal)
    const group = now ? undefined : this.#join(size, durability)
    const builder = group?.builder ?? this.#immediate.begin()
    if (expiryMs === 0) builder.addPut(key, value)
    else builder.addPutExpiring(key, value, this.#host.expiry.fromWall(expiryMs))
    return group?.promise ?? this.#immediate.finish(durability)
  }

  /** Resolves when the deletion is as durable as asked. */
  delete(key: Uint8Array, durability: Durability): Promise<void> {
    return this.batch([{ type: 'del', key }], durability)
  }

  /**
   * All operations in one frame: after a crash all of them are there or none. `logData` goes with
   * them into the log and nowhere else. Borrows the bytes until the batch has resolved.
   */
  batch(
    operations: readonly EngineOperation[],
    durability: Durability,
    logData?: Uint8Array,
  ): Promise<void> {
    if (operations.length > SLICE_OPERATIONS) {
      return this.#largeBatch(engineSource(operations), durability, logData)
    }
    let size = logData === undefined ? 0 : logData.length + OPERATION_OVERHEAD
    for (const operation of operations) size += operationSize(operation) + OPERATION_OVERHEAD
    if (size > LARGE_SIZE_MIN) {
      const sizeMax = size + OPERATION_OVERHEAD
      return this.#largeBatch(engineSource(operations), durability, logData, sizeMax)
    }
    const now = this.#canWriteNow(operations.length, size, durability)
    const refusal = now ? undefined : this.#refusal(size)
    if (refusal !== undefined) return Promise.reject(refusal)
    const group = now ? undefined : this.#join(size, durability)
    const builder = group?.builder ?? this.#immediate.begin()
    addOperations(builder, operations, this.#host.expiry, logData)
    return group?.promise ?? this.#immediate.finish(durability)
  }

  /** Begins a batch of so many puts that is filled over several turns. */
  prepare(putCount: number, commit: CommitFrame, logData?: Uint8Array): PreparedWrite {
    const { hasher, expiry } = this.#host
    return new PreparedWrite(putCount, createWalFrameBuilder(hasher), expiry, commit, logData)
  }

  /** A frame that prepare() began takes its place behind all that was submitted so far. */
  commitFrame(builder: WalFrameBuilder, durability: Durability): Promise<void> {
    const refusal = this.#refusal(builder.size)
    if (refusal !== undefined) return Promise.reject(refusal)
    // What comes later goes behind it, not into the group that is open before it.
    this.#open = undefined
    const group = this.#addGroup(builder, durability)
    this.#charge(group, builder.size)
    return group.promise
  }

  /** batch() of what is still to be converted and checked. May throw InvalidArgumentError. */
  batchOf(
    source: OperationSource,
    durability: Durability,
    logData: Uint8Array | undefined,
  ): Promise<void> {
    if (source.count > SLICE_OPERATIONS) return this.#largeBatch(source, durability, logData)
    const operations = source.slice(0, source.count)
    if (operations.length === 0 && logData === undefined) return Promise.resolve()
    checkBatchSize(operations, logData)
    return this.batch(operations, durability, logData)
  }

  #largePut(
    key: Uint8Array,
    value: Uint8Array,
    expiryMs: number,
    durability: Durability,
  ): Promise<void> {
    const size = key.length + value.length + OPERATION_OVERHEAD
    const refusal = this.#refusal(size)
    if (refusal !== undefined) return Promise.reject(refusal)
    const group = this.#addGroup(this.#spareBuilder(), durability)
    this.#open = undefined
    this.#charge(group, size)
    const expiry = expiryMs === 0 ? 0 : this.#host.expiry.fromWall(expiryMs)
    group.builder.reserve(size)
    group.filling = group.builder
      .addPutInSlices(key, value, expiry)
      .then(() => undefined, unwritten)
    return group.promise
  }

  /** `size`: bytes that it takes, as far as they are known before it is gathered. */
  #largeBatch(
    source: OperationSource,
    durability: Durability,
    logData: Uint8Array | undefined,
    size = logData?.length ?? 0,
  ): Promise<void> {
    const refusal = this.#refusal(size, 0, true) ?? this.#lengthRefusal()
    if (refusal !== undefined) return rejected(finalRefusal(refusal, source, logData))
    const isSingle = this.#queuedBytes === 0 && !this.#committer.busy && this.#groups.length === 0
    const group = this.#addGroup(this.#spareBuilder(), durability)
    this.#open = undefined
    this.#charge(group, size)
    const admit = (bytes: number) => this.#admit(group, bytes, isSingle)
    group.filling = this.#lastFilling
      .then(() => this.#fill(group, source, logData, admit))
      .then(undefined, cause => {
        this.#discharge(group)
        return finalRefusal(unwritten(cause), source, logData)
      })
    this.#lastFilling = group.filling
    return group.promise
  }

  /** batch() that tells which sequences the operations got. */
  async commit(
    operations: readonly EngineOperation[],
    durability: Durability,
    logData?: Uint8Array,
  ): Promise<SequenceRange> {
    const count = operations.length
    const written = this.batch(operations, durability, logData)
    // What was not written at once was added to the last group, behind what is in it already.
    const last = this.#groups.at(-1)
    const group = last?.promise === written ? last : undefined
    const isAlone = group?.filling !== undefined
    const before = group?.builder.entryCount ?? this.#host.state.lastSequence
    const behind = isAlone ? 0 : before - count
    await written
    const sequence = group === undefined ? behind + 1 : group.firstSequence + behind
    return { sequence, lastSequence: sequence + count - 1 }
  }

  /**
   * Freezes the memtable at the next gap between groups, so that a flush takes all that was written
   * before the call. Rejects when nothing can be written any more, and after close().
   */
  freeze(): Promise<void> {
    if (this.#closed) return Promise.reject(new ClosedError('the database is closed'))
    return new Promise((resolve, reject) => {
      this.#freezes.push({ resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves once nothing is queued or being written. Nothing may be submitted after the call. */
  async close(): Promise<void> {
    this.#closed = true
    while (this.#running !== undefined) await this.#running
    await this.#immediate.close()
  }

  #canWriteNow(entryCount: number, size: number, durability: Durability): boolean {
    return (
      durability !== 'sync' &&
      !this.#committer.busy &&
      this.#groups.length === 0 &&
      this.#immediate.canWrite(entryCount, size)
    )
  }

  /**
   * Why so many more bytes are not taken, by a group that was charged `own` already. `isPart`: more
   * may come.
   */
  #refusal(size: number, own = 0, isPart = false): Error | undefined {
    const { failure } = this.#host.state
    if (failure !== undefined) return failure
    if (this.#queuedBytes === own || this.#queuedBytes + size <= this.#host.queuedBytesMax) {
      return undefined
    }
    const [waiting, max] = [this.#queuedBytes - own, this.#host.queuedBytesMax]
    return tooManyBytes({ size: own + size, isPart, waiting, max })
  }

  #lengthRefusal(): Error | undefined {
    const { length } = this.#groups
    return length < GROUPS_MAX ? undefined : tooManyBatches(length)
  }

  #join(size: number, durability: Durability): WriteGroup {
    let group = this.#open
    if (group === undefined || isFull(group.builder, size)) {
      group = this.#addGroup(this.#spareBuilder(), durability)
      this.#open = group
    }
    if (durability === 'sync') group.needsSync = true
    this.#charge(group, size)
    return group
  }

  #spareBuilder(): WalFrameBuilder {
    return this.#spareBuilders.pop() ?? createWalFrameBuilder(this.#host.hasher)
  }

  #addGroup(builder: WalFrameBuilder, durability: Durability): WriteGroup {
    const group = new WriteGroup(builder, this.#discharge)
    group.needsSync = durability === 'sync'
    this.#groups.push(group)
    this.#running ??= this.#run()
    return group
  }

  #charge(group: WriteGroup, size: number): void {
    group.queuedBytes += size
    this.#setQueued(this.#queuedBytes + size)
  }

  readonly #discharge = (group: WriteGroup): void => {
    this.#setQueued(this.#queuedBytes - group.queuedBytes)
    group.queuedBytes = 0
  }

  /** The first step is nobody's: what waits in it is gone within a commit. */
  #setQueued(bytes: number): void {
    const step = Math.floor(bytes / QUEUE_STEP)
    const changed = step !== Math.floor(this.#queuedBytes / QUEUE_STEP)
    this.#queuedBytes = bytes
    if (changed) this.#host.queued(step * QUEUE_STEP)
  }

  /**
   * Charges the group for what it holds by now. Throws OverloadedError when that is too much beside
   * the others; a single batch, which found the queue empty, is taken whatever came meanwhile.
   */
  #admit(group: WriteGroup, bytes: number, isSingle: boolean): void {
    const more = Math.max(0, bytes - group.queuedBytes)
    const refusal = isSingle
      ? this.#host.state.failure
      : this.#refusal(more, group.queuedBytes, true)
    if (refusal !== undefined) throw refusal
    this.#charge(group, more)
  }

  /** Rejects when nothing of it is to be written. */
  async #fill(
    group: WriteGroup,
    source: OperationSource,
    logData: Uint8Array | undefined,
    admit: (bytes: number) => void,
  ): Promise<void> {
    const batch = await gatherBatch(source, logData, admit)
    if (logData !== undefined) batch.tally.checkNotEmpty()
    this.#charge(group, batch.tally.frameSize - group.queuedBytes)
    await encodeBatch(group.builder, batch, this.#host.expiry)
  }

  /** Never rejects: failures go to the writers and to the state. */
  async #run(): Promise<void> {
    for (;;) {
      // Everyone who was just answered gets to submit the next write before the frame closes.
      await endOfTick()
      while (this.#freezes.length > 0) await this.#committer.freeze(this.#freezes.splice(0))
      const group = this.#groups.shift()
      if (group === undefined) break
      if (group === this.#open) this.#open = undefined
      await this.#committer.commit(group)
      this.#recycle(group.builder)
    }
    this.#running = undefined
  }

  #recycle(builder: WalFrameBuilder): void {
    if (this.#spareBuilders.length >= SPARE_BUILDERS_MAX) return
    if (builder.size > SPARE_SIZE_MAX) return
    builder.begin()
    this.#spareBuilders.push(builder)
  }
}

/** Whether a group takes no such write: one memtable takes it whole, range tombstones too. */
function isFull({ size, rangeCount }: WalFrameBuilder, more: number): boolean {
  return size + more > GROUP_SIZE_TARGET || rangeCount >= RANGE_COUNT_MAX
}

async function rejected(refusal: Promise<Error>): Promise<never> {
  throw await refusal
}

function engineSource(operations: readonly EngineOperation[]): OperationSource {
  return sourceOf(operations, some => some)
}

/** Filling a frame touches nothing but the frame: whatever fails there concerns its batch alone. */
function unwritten(cause: unknown): Error {
  if (cause instanceof KvError) return cause
  return new InvalidArgumentError('the operations of the batch cannot be read', { cause })
}
