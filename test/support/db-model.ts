/**
 * A database on a simulated disk beside a sorted map that is told the same, step by random step,
 * and asked the same.
 */
import assert from 'node:assert/strict'
import { keyInterval } from '../../src/arguments.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import {
  type ChangeBatch,
  type Db,
  type DbOptions,
  type DbTuning,
  type EmbeddedOperation,
  type EngineOperation,
  InlineExecutor,
} from '../../src/engine/index.ts'
import type { Durability, KeyRange, ScanOptions, Snapshot } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { readState, text } from './crash-oracle.ts'
import { drive, openEngine } from './engine-on-disk.ts'
import { EventChecker } from './event-checker.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { SimClock } from './sim-clock.ts'

interface ModelValue {
  readonly value: string
  /** Wall clock from which on it is absent; infinite for never. */
  readonly expiryMs: number
}

type ModelState = Map<string, ModelValue>

interface HeldSnapshot {
  readonly snapshot: Snapshot
  readonly state: ModelState
}

const SNAPSHOTS_MAX = 4
const DURABILITIES: readonly Durability[] = ['sync', 'interval', 'none']

function describeBatch(
  logData: Uint8Array,
  operations: readonly (EmbeddedOperation | EngineOperation)[],
): string {
  const lines = operations.flatMap(operation => {
    if (operation.type === 'put') return `${text(operation.key)}=${text(operation.value)}`
    if (operation.type === 'del') return text(operation.key)
    if ('end' in operation) return `${text(operation.key)} to ${text(operation.end)}`
    const interval = keyInterval(operation)
    // An empty range is no operation.
    return interval === undefined ? [] : `${text(interval.start)} to ${text(interval.end)}`
  })
  return [text(logData), ...lines].join('\n')
}

/** The options of a seed: from so tiny that nothing fits to what a user would have. */
export function drawOptions(seed: number): DbOptions & DbTuning {
  const random = seededRandom(seed ^ 0x5eed)
  const pick = <T>(...choices: readonly T[]): T => choices[random.below(choices.length)]!
  return {
    durability: pick(...DURABILITIES),
    syncIntervalMs: pick(1, 100),
    memoryBudget: pick(1, 1, 2, 64) * 1024 * 1024,
    compactionThreads: pick(1, 2, 3),
    memtableSize: pick(4096, 8192, 16_384, 65_536, 1024 * 1024),
    frozenMemtablesMax: pick(1, 2, 4),
    blockSize: pick(128, 256, 1024, 4096),
    filterBitsPerKey: pick(0, 1, 10, 20),
    tableSizeTarget: pick(1024, 4096, 32_768),
    level0CompactionTrigger: pick(1, 2, 4),
    baseLevelSize: pick(2048, 8192, 65_536),
    levelSizeRatio: pick(2, 4, 10),
    openFilesMax: pick(4, 8, 512),
  }
}

export class DbModel {
  /** What was done, in words. */
  readonly log: string[] = []
  readonly counts = new Map<string, number>()
  readonly #random: Random
  readonly #clock = new SimClock()
  readonly #options: DbOptions & DbTuning
  readonly #executor: typeof InlineExecutor
  readonly #keyCount: number
  readonly #valueSizeMax: number
  #disk: MemoryFileSystem
  #db!: Db
  #events = new EventChecker()
  #state: ModelState = new Map()
  #snapshots: HeldSnapshot[] = []
  /** Writes of durability none since the last that was handed over: a kill may take them. */
  #writeCount = 0
  /** Batches with log data, in the order of their calls, each with what it wrote. */
  #logged: string[] = []
  /** By how much somebody has set the wall clock wrong. */
  #jumpedMs = 0

  /** Another executor plants a bug. */
  constructor(seed: number, executor: typeof InlineExecutor = InlineExecutor) {
    this.#random = seededRandom(seed)
    this.#executor = executor
    this.#options = drawOptions(seed)
    this.#keyCount = [3, 40, 400][this.#random.below(3)]!
    this.#valueSizeMax = [0, 30, 300][this.#random.below(3)]!
    this.#disk = new MemoryFileSystem({ random: this.#random })
  }

  async run(steps: number): Promise<void> {
    await this.#open()
    for (let step = 0; step < steps; step++) await this.#step()
    await this.#reopen()
    await this.#checkAll()
    await this.#close()
  }

  async #step(): Promise<void> {
    const die = this.#random.below(100)
    if (die < 30) await this.#writes()
    else if (die < 55) await this.#pointReads()
    else if (die < 70) await this.#scan()
    else if (die < 78) this.#takeSnapshot()
    else if (die < 84) this.#releaseSnapshot()
    else if (die < 91) await this.#passTime()
    else if (die < 92) this.#jumpWall()
    else if (die < 93) await this.#fill()
    else if (die < 94) await this.#maintain()
    else if (die < 96) await this.#checkAll()
    else if (die < 98) await this.#readWhileWriting()
    else if (die < 99) await this.#reopen()
    else await this.#kill()
  }

  /** The wall clock as it would be if nobody touched it: expiry goes by nothing else. */
  get #nowMs(): number {
    return this.#clock.wallMs() - this.#jumpedMs
  }

  #note(name: string, detail = ''): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
    this.log.push(`${name} ${detail}`)
  }

  async #open(): Promise<void> {
    const events = new EventChecker()
    this.#events = events
    const found: string[] = []
    const onLogData = (batch: ChangeBatch) => {
      found.push(describeBatch(batch.logData!, batch.operations))
      // Now and then one that takes its time.
      return this.#random.below(3) === 0 ? yieldToEventLoop() : undefined
    }
    this.#db = await openEngine(this.#disk, {
      clock: this.#clock,
      random: this.#random,
      executor: this.#executor,
      options: { ...this.#options, onLogData, onEvent: event => events.take(event) },
    })
    // What the log still holds: the last of them, without a gap.
    this.counts.set('logData', (this.counts.get('logData') ?? 0) + found.length)
    assert.deepEqual(found, found.length === 0 ? [] : this.#logged.slice(-found.length))
  }

  async #close(): Promise<void> {
    for (const held of this.#snapshots.splice(0)) held.snapshot.release()
    // What has happened has been told by then.
    await yieldToEventLoop()
    const stats = this.#db.stats()
    this.#events.compare(stats)
    const { flushes, compactions } = stats
    this.counts.set('flushes', (this.counts.get('flushes') ?? 0) + flushes.count)
    this.counts.set('compactions', (this.counts.get('compactions') ?? 0) + compactions.count)
    // The next process goes by the clock that it finds.
    this.#setWall(0)
    await drive(this.#clock, this.#db.close())
    for (const [type, count] of this.#events.counts) {
      this.counts.set(type, (this.counts.get(type) ?? 0) + count)
    }
  }

  async #reopen(): Promise<void> {
    this.#note('reopen')
    await this.#close()
    await this.#open()
  }

  /** kill -9: what was not handed over may be gone, but only from the end. */
  async #kill(): Promise<void> {
    // A write that waits for its sync covers all before it.
    await this.#put(this.#randomKey(), 'sync')
    this.#note('kill')
    const survivor = this.#disk.processCrashClone(this.#random)
    const old = this.#db
    this.#disk.powerOff()
    this.#snapshots = []
    this.#setWall(0)
    await drive(this.#clock, old.close()).catch(() => undefined)
    this.#disk = survivor
    await this.#open()
  }

  #randomKey(): string {
    const index = this.#random.below(this.#keyCount)
    // Keys that are prefixes of each other, of different lengths, with zero bytes.
    if (index % 7 === 0) return 'p'.repeat(1 + (index % 50))
    if (index % 11 === 0) return `nul\0${index}\0`
    return `key-${index.toString(8)}`
  }

  #randomValue(): string {
    this.#writeCount++
    return `${this.#writeCount}${'.'.repeat(this.#random.below(this.#valueSizeMax + 1))}`
  }

  #randomDurability(): Durability {
    return DURABILITIES[this.#random.below(3)]!
  }

  async #put(key: string, durability = this.#randomDurability()): Promise<void> {
    const value = this.#randomValue()
    const ttlMs = this.#random.below(4) === 0 ? 1 + this.#random.below(5000) : undefined
    // Whole milliseconds, upwards, as they are stored.
    const expiryMs = ttlMs === undefined ? Number.POSITIVE_INFINITY : Math.ceil(this.#nowMs + ttlMs)
    this.#note('put', `${key} ${durability} ttl ${ttlMs}`)
    const options = { durability, ...(ttlMs !== undefined && { ttlMs }) }
    const written = this.#db.put(key, value, options)
    this.#state.set(key, { value, expiryMs })
    await drive(this.#clock, written)
  }

  /** A few at once, each of them told to the map in the order of the calls. */
  async #writes(): Promise<void> {
    const written: Promise<void>[] = []
    for (let count = 1 + this.#random.below(6); count > 0; count--) written.push(this.#write())
    await drive(this.#clock, Promise.all(written))
  }

  #write(): Promise<void> {
    const die = this.#random.below(11)
    if (die < 5) return this.#put(this.#randomKey())
    const durability = this.#randomDurability()
    if (die === 10) {
      const range = this.#randomDeletedRange()
      this.#note('deleteRange', JSON.stringify(range))
      this.#deleteFromState(range)
      return this.#db.deleteRange(range, { durability })
    }
    if (die < 8) {
      const key = this.#randomKey()
      this.#note('delete', key)
      this.#state.delete(key)
      return this.#db.delete(key, { durability })
    }
    const operations = Array.from({ length: this.#random.below(20) }, () => this.#operation())
    this.#note('batch', `${operations.length}`)
    const isNothing = operations.every(
      operation => operation.type === 'del-range' && keyInterval(operation) === undefined,
    )
    if (isNothing || this.#random.below(2) === 0) {
      return this.#db.batch(operations, { durability })
    }
    const logData = this.#random.bytes(this.#random.below(40))
    this.#logged.push(describeBatch(logData, operations))
    return this.#db.batch(operations, { durability, logData })
  }

  #operation(): EmbeddedOperation {
    const key = this.#randomKey()
    if (this.#random.below(25) === 0) {
      const range = this.#randomDeletedRange()
      this.#note('deleteRange', `in a batch ${JSON.stringify(range)}`)
      this.#deleteFromState(range)
      return { type: 'del-range', ...range }
    }
    if (this.#random.below(4) === 0) {
      this.#state.delete(key)
      return { type: 'del', key }
    }
    const value = this.#randomValue()
    this.#state.set(key, { value, expiryMs: Number.POSITIVE_INFINITY })
    return { type: 'put', key, value }
  }

  /** Enough to rotate small memtables several times. */
  async #fill(): Promise<void> {
    this.#note('fill')
    for (let round = 0; round < 8; round++) {
      const operations = Array.from({ length: 30 }, () => this.#operation())
      await drive(this.#clock, this.#db.batch(operations))
    }
  }

  async #maintain(): Promise<void> {
    const { reverse: _reverse, limit: _limit, ...range } = this.#randomRange()
    const rewrite = this.#random.below(2) === 0
    this.#note('compact', JSON.stringify(range))
    const compacted = this.#db.compact({ ...range, rewrite })
    await this.#writes()
    await this.#pointReads()
    await drive(this.#clock, compacted)

    const directory = `/copies/${this.counts.get('checkpoint') ?? 0}`
    this.#note('checkpoint', directory)
    // Who opens it goes by the clock that he finds.
    this.#setWall(0)
    await drive(this.#clock, this.#db.checkpoint(directory))
    const copy = await openEngine(this.#disk, {
      clock: this.#clock,
      random: this.#random,
      options: { ...this.#options, createIfMissing: false },
      directory,
    })
    assert.deepEqual(await readState(copy), new Map(this.#expectedEntries(this.#state, {})))
    await drive(this.#clock, copy.close())
  }

  #expected(state: ModelState, key: string): string | undefined {
    const entry = state.get(key)
    if (entry === undefined) return undefined
    if (entry.expiryMs > this.#nowMs) return entry.value
    this.#note('expired', key)
    return undefined
  }

  #heldSnapshot(): HeldSnapshot | undefined {
    if (this.#random.below(3) !== 0) return undefined
    const held = this.#snapshots[this.#random.below(SNAPSHOTS_MAX)]
    if (held !== undefined) this.#note('snapshotRead')
    return held
  }

  async #pointReads(): Promise<void> {
    const held = this.#heldSnapshot()
    const options = held === undefined ? {} : { snapshot: held.snapshot }
    const state = held?.state ?? this.#state
    const keys = Array.from({ length: 1 + this.#random.below(8) }, () => this.#randomKey())
    this.#note('read', keys.join(' '))
    const expected = keys.map(key => this.#expected(state, key))
    const say = (value: Uint8Array | undefined) => value && text(value)
    if (this.#random.below(2) === 0) {
      assert.deepEqual(
        keys.map(key => say(this.#db.getSync(key, options))),
        expected,
      )
    }
    const single = await Promise.all(keys.map(key => this.#db.get(key, options)))
    assert.deepEqual(single.map(say), expected)
    assert.deepEqual((await this.#db.getMany(keys, options)).map(say), expected)
    const present = await Promise.all(keys.map(key => this.#db.has(key, options)))
    assert.deepEqual(
      present,
      expected.map(value => value !== undefined),
    )
  }

  #takeSnapshot(): void {
    if (this.#snapshots.length >= SNAPSHOTS_MAX) return
    this.#note('snapshot')
    this.#snapshots.push({ snapshot: this.#db.snapshot(), state: new Map(this.#state) })
  }

  #releaseSnapshot(): void {
    const [held] = this.#snapshots.splice(this.#random.below(SNAPSHOTS_MAX), 1)
    held?.snapshot.release()
  }

  #jumpWall(): void {
    const byMs = [-86_400_000, -3000, 3000, 86_400_000][this.#random.below(4)]!
    this.#note('jumpWall', `${byMs}`)
    this.#setWall(this.#jumpedMs + byMs)
  }

  #setWall(jumpedMs: number): void {
    this.#clock.jumpWall(jumpedMs - this.#jumpedMs)
    this.#jumpedMs = jumpedMs
  }

  async #passTime(): Promise<void> {
    const byMs = [1, 50, 900, 4000][this.#random.below(4)]!
    this.#note('passTime', `${byMs}`)
    await this.#clock.advanceAsync(byMs)
  }

  #randomBounds(): KeyRange {
    const random = this.#random
    const lower = [{}, { gt: this.#randomKey() }, { gte: this.#randomKey() }][random.below(3)]
    const upper = [{}, { lt: this.#randomKey() }, { lte: this.#randomKey() }][random.below(3)]
    return { ...lower, ...upper }
  }

  /** Mostly the few keys that begin alike; one in eight takes half of everything, or all. */
  #randomDeletedRange(): KeyRange {
    if (this.#random.below(8) === 0) return this.#randomBounds()
    const key = this.#randomKey()
    const first = this.#random.below(2) === 0 ? { gt: key } : { gte: key }
    return this.#random.below(2) === 0 ? { ...first, lte: key } : { ...first, lt: `${key}~` }
  }

  #randomRange(): ScanOptions {
    const random = this.#random
    const bounds = this.#randomBounds()
    const limit = random.below(3) === 0 ? { limit: random.below(12) } : {}
    return { ...bounds, ...limit, reverse: random.below(2) === 0 }
  }

  #deleteFromState(range: KeyRange): void {
    for (const key of [...this.#state.keys()]) if (isWithin(key, range)) this.#state.delete(key)
  }

  /** What the scan must deliver. */
  #expectedEntries(state: ModelState, range: ScanOptions): [string, string][] {
    const entries: [string, string][] = []
    const nowMs = this.#nowMs
    for (const [key, { value, expiryMs }] of state) {
      if (expiryMs > nowMs && isWithin(key, range)) entries.push([key, value])
    }
    entries.sort(([a], [b]) => (a < b ? -1 : 1))
    if (range.reverse === true) entries.reverse()
    return entries.slice(0, range.limit)
  }

  async #scan(): Promise<void> {
    const held = this.#heldSnapshot()
    const range = this.#randomRange()
    this.#note('scan', JSON.stringify(range))
    const options = held === undefined ? range : { ...range, snapshot: held.snapshot }
    const expected = this.#expectedEntries(held?.state ?? this.#state, range)
    const found: [string, string][] = []
    for await (const [key, value] of this.#db.entries(options)) {
      found.push([text(key), text(value)])
      // A caller that takes its time; nothing may change under it.
      if (this.#random.below(20) === 0) await yieldToEventLoop()
    }
    assert.deepEqual(found, expected)
    if (this.#random.below(4) > 0) return
    const keys: string[] = []
    for await (const key of this.#db.keys(options)) keys.push(text(key))
    assert.deepEqual(
      keys,
      expected.map(([key]) => key),
    )
    const values: string[] = []
    for await (const value of this.#db.values(options)) values.push(text(value))
    assert.deepEqual(
      values,
      expected.map(([, value]) => value),
    )
  }

  /** A scan shows the state of the moment it began, whatever is written during it. */
  async #readWhileWriting(): Promise<void> {
    this.#note('readWhileWriting')
    const range = { reverse: this.#random.below(2) === 0 }
    const scan = this.#db.entries(range)
    const expected = this.#expectedEntries(this.#state, range)
    // Expiry goes by the clock of the read: none may pass while this one is under way.
    const startMs = this.#nowMs
    const found: [string, string][] = []
    for (;;) {
      const page = await scan.nextBatch(1 + this.#random.below(30))
      if (page.length === 0) break
      for (const [key, value] of page) found.push([text(key), text(value)])
      await this.#writes()
      if (this.#nowMs !== startMs) {
        await scan.close()
        return
      }
    }
    assert.deepEqual(found, expected)
  }

  async #checkAll(): Promise<void> {
    this.#note('checkAll')
    const expected = new Map(this.#expectedEntries(this.#state, {}))
    assert.deepEqual(await readState(this.#db), expected)
  }
}

function isWithin(key: string, range: KeyRange): boolean {
  if (range.gt !== undefined && key <= String(range.gt)) return false
  if (range.gte !== undefined && key < String(range.gte)) return false
  if (range.lt !== undefined && key >= String(range.lt)) return false
  return range.lte === undefined || key <= String(range.lte)
}
