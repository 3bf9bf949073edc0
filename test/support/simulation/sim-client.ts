/**
 * A simulated program that uses the SDK: it does one thing after another in each of its lanes, at
 * random, and writes into the history what it asked and was told. No two lanes touch the same key,
 * so that the version that leaves for a key belongs to the write that is under way there.
 */
import { utf8Decode } from '../../../src/bytes.ts'
import { delay } from '../../../src/clock.ts'
import { decodeRoutes } from '../../../src/cluster/index.ts'
import { LARGE_COUNT } from '../../../src/cluster/partitioned-store.ts'
import { KvError } from '../../../src/errors.ts'
import type { BatchOperation, Consistency, Durability } from '../../../src/key-value-store.ts'
import { Client, type Connector, type NodeAddress } from '../../../src/net/index.ts'
import type { Random } from '../../../src/random.ts'
import { timeOf } from './check-times.ts'
import { describeWrite, type History, type Outcome, type Write } from './history.ts'
import { LARGE_VALUE_MAX, type Rarities } from './rarities.ts'
import type { SimProcess } from './sim-process.ts'
import { tapVersions } from './version-tap.ts'
import type { Workload } from './workload.ts'

export interface SimClientOptions {
  readonly process: SimProcess
  readonly random: Random
  readonly connector: Connector
  readonly nodes: readonly NodeAddress[]
  readonly history: History
  readonly workload: Workload
  readonly rarities: Rarities
  /** Of what is drawn for the sake of those. */
  readonly rareRandom: Random
  readonly versions: 'client' | 'server'
  /** The first thing that it does, as soon as it starts, is a wide batch. */
  readonly beginsWide: boolean
  /** True time, in milliseconds since the Unix epoch. */
  readonly nowMs: () => number
  /** Says in the trace what failed, and why. */
  readonly note: (what: string, why: string) => void
}

interface WriteTerms {
  readonly consistency: Consistency
  readonly durability?: Durability
}

interface WriteParts {
  readonly ttlMs?: number
  readonly batch?: number
}

interface ScanTerms {
  readonly reverse?: boolean
  readonly limit?: number
  readonly gte?: string
  readonly lt?: string
  readonly pageEntries?: number
  readonly readAheadPages?: number
}

/** Operations of a wide batch: more than a node prepares in one turn. */
const WIDE_MIN = LARGE_COUNT + 1
const WIDE_MAX = WIDE_MIN + 150
/** That a scan is not read on for. */
const IDLE_MS_MAX = 4000
/** Writes of one call that are described when it fails. */
const DESCRIBED_MAX = 5

export class SimClient {
  readonly #options: SimClientOptions
  readonly #client: Client
  /** By key, what was last begun there. */
  readonly #writing = new Map<string, Write>()
  #isStopping = false
  #lanes: Promise<void>[] = []

  constructor(options: SimClientOptions) {
    this.#options = options
    const { process, random, connector, nodes, workload, versions } = options
    this.#client = new Client({
      nodes,
      lazy: true,
      clock: process.clock,
      random,
      connector: tapVersions(connector, (key, value, version) => this.#sent(key, value, version)),
      timeoutMs: workload.timeoutMs,
      clientName: process.name,
      session: workload.session,
      versions,
      ...(workload.routes ? { decodeRoutes } : {}),
    })
  }

  start(): void {
    const { lanes } = this.#options.workload
    this.#lanes = Array.from({ length: lanes }, (_, lane) => this.#work(lane))
  }

  /** Resolves once everything it began was answered. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#lanes)
    await this.#client.close()
  }

  async #work(lane: number): Promise<void> {
    const { process, random, workload, beginsWide } = this.#options
    if (beginsWide && lane === 0) await this.#wideBatch(lane)
    for (;;) {
      await delay(process.clock, random.next() * 2 * workload.thinkMs)
      if (this.#isStopping) return
      await this.#act(lane)
    }
  }

  async #act(lane: number): Promise<void> {
    const { random, workload, rarities, rareRandom } = this.#options
    const { wideBatches } = rarities
    if (wideBatches > 0 && rareRandom.next() < wideBatches) return this.#wideBatch(lane)
    const { puts, deletes, batches, scans } = workload
    const draw = random.next()
    if (draw < puts) await this.#put(this.#key(lane))
    else if (draw < puts + deletes) await this.#delete(this.#key(lane))
    else if (draw < puts + deletes + batches) await this.#batch(lane)
    else if (draw < puts + deletes + batches + scans) await this.#look()
    else if (random.below(5) === 0) await this.#getMany()
    else await this.#get(this.#readKey())
  }

  /** One of those of the lane. */
  #key(lane: number): string {
    const { random, workload } = this.#options
    const { lanes, keys } = workload
    const place = random.below(Math.max(1, Math.floor(keys / lanes)))
    return workload.keyAt(place * lanes + lane)
  }

  #readKey(): string {
    const { random, workload } = this.#options
    return workload.keyAt(random.below(workload.keys))
  }

  #consistency(): Consistency {
    const { random, workload } = this.#options
    const draw = random.next()
    if (draw < workload.quorums) return 'quorum'
    return draw < workload.quorums + workload.alls ? 'all' : 'one'
  }

  #value(): string {
    const { random, workload, rarities, rareRandom, history, process } = this.#options
    const size = Math.floor(random.next() ** 3 * workload.valueSizeMax)
    const isLarge = rarities.largeValues > 0 && rareRandom.next() < rarities.largeValues
    const largeSize = isLarge ? Math.floor(rareRandom.next() * LARGE_VALUE_MAX) : 0
    return history.nextValue(process.name, Math.max(size, largeSize))
  }

  /** Of a put: how long it is to be found, in milliseconds; 0 for ever. */
  #ttlMs(): number {
    const { rarities, rareRandom } = this.#options
    const { expiring, ttlMaxMs } = rarities
    if (expiring === 0 || rareRandom.next() >= expiring) return 0
    return 1 + Math.floor(rareRandom.next() * ttlMaxMs)
  }

  /** Of one call. */
  #terms(): WriteTerms {
    const { rarities, rareRandom } = this.#options
    const consistency = this.#consistency()
    const { weakWrites } = rarities
    if (weakWrites === 0 || rareRandom.next() >= weakWrites) return { consistency }
    return { consistency, durability: rareRandom.below(2) === 0 ? 'none' : 'interval' }
  }

  #begin(key: string, value: string | undefined, terms: WriteTerms, parts: WriteParts = {}): Write {
    const { history, process, versions } = this.#options
    const isVersionedByNode = versions === 'server'
    const write = history.begin({
      ...{ key, value, client: process.name, isVersionedByNode },
      ...terms,
      ...parts,
    })
    this.#writing.set(key, write)
    return write
  }

  #sent(key: string, value: string | undefined, version: string): void {
    const write = this.#writing.get(key)
    if (write === undefined || write.value !== value) {
      throw new Error(`a write to ${key} was sent that is not under way`)
    }
    if (write.version !== version) write.aheadMs = timeOf(version) - this.#options.nowMs()
    // Another one than before only when that was refused because of its time; see check-stored.ts.
    write.version = version
  }

  #put(key: string): Promise<void> {
    const terms = this.#terms()
    const value = this.#value()
    const ttlMs = this.#ttlMs()
    const write = this.#begin(key, value, terms, { ttlMs })
    const options = { ...terms, ...ttlOption(ttlMs) }
    return this.#told([write], () => this.#client.put(key, value, options))
  }

  #delete(key: string): Promise<void> {
    const terms = this.#terms()
    const write = this.#begin(key, undefined, terms)
    return this.#told([write], () => this.#client.delete(key, terms))
  }

  #batch(lane: number): Promise<void> {
    const { random } = this.#options
    const terms = this.#terms()
    const keys = new Set(Array.from({ length: 1 + random.below(5) }, () => this.#key(lane)))
    return this.#writeAll([...keys], random, terms, () => this.#value())
  }

  /** Of keys that nothing else is written to. */
  #wideBatch(lane: number): Promise<void> {
    const { history, process, rareRandom } = this.#options
    const length = WIDE_MIN + rareRandom.below(WIDE_MAX - WIDE_MIN + 1)
    const keys = Array.from({ length }, (_, at) => `wide-${lane}-${at}`)
    const terms = this.#terms()
    const value = () => history.nextValue(process.name, 0)
    return this.#writeAll(keys, rareRandom, terms, value)
  }

  /** In one batch, some of it deletions. Requires that the keys differ. */
  #writeAll(
    keys: readonly string[],
    random: Random,
    terms: WriteTerms,
    nextValue: () => string,
  ): Promise<void> {
    const batch = this.#options.history.nextBatch()
    const writes = keys.map(key => {
      const value = random.below(4) === 0 ? undefined : nextValue()
      const ttlMs = value === undefined ? 0 : this.#ttlMs()
      return this.#begin(key, value, terms, { ttlMs, batch })
    })
    const operations = writes.map(({ key, value, ttlMs }): BatchOperation => {
      if (value === undefined) return { type: 'del', key }
      return { type: 'put', key, value, ...ttlOption(ttlMs) }
    })
    return this.#told(writes, () => this.#client.batch(operations, terms))
  }

  async #told(writes: readonly Write[], write: () => Promise<void>): Promise<void> {
    const { history } = this.#options
    let outcome: Outcome = 'ok'
    try {
      await write()
      history.outcomes.ok++
    } catch (error) {
      outcome = this.#failed(describeWrites(writes), error)
    }
    history.end(writes, outcome)
  }

  async #get(key: string): Promise<void> {
    const { history } = this.#options
    const consistency = this.#consistency()
    const invoked = history.nextOrder()
    try {
      this.#found(key, await this.#client.get(key, { consistency }), consistency, invoked)
      history.outcomes.ok++
    } catch (error) {
      this.#failed(`get ${key} ${consistency}`, error)
    }
  }

  async #getMany(): Promise<void> {
    const { history, random } = this.#options
    const consistency = this.#consistency()
    const invoked = history.nextOrder()
    const keys = Array.from({ length: 1 + random.below(5) }, () => this.#readKey())
    try {
      const found = await this.#client.getMany(keys, { consistency })
      for (const [at, key] of keys.entries()) this.#found(key, found[at], consistency, invoked)
      history.outcomes.ok++
    } catch (error) {
      this.#failed(`get ${keys.join(', ')} ${consistency}`, error)
    }
  }

  #found(
    key: string,
    found: Uint8Array | undefined,
    consistency: Consistency,
    invoked: number,
  ): void {
    const { history, process, workload } = this.#options
    const value = found === undefined ? undefined : utf8Decode(found)
    const { session } = workload
    history.read({ key, value, client: process.name, consistency, session, invoked })
  }

  #look(): Promise<void> {
    return this.#options.random.below(3) === 0 ? this.#count() : this.#scan()
  }

  async #count(): Promise<void> {
    const { history, workload, rarities } = this.#options
    const { keys, lanes } = workload
    const countMax = keys + (rarities.wideBatches > 0 ? lanes * WIDE_MAX : 0)
    try {
      const count = await this.#client.count()
      if (count > countMax) throw new Error(`a count of ${countMax} keys says ${count}`)
      history.outcomes.ok++
    } catch (error) {
      this.#failed('count', error)
    }
  }

  /** A scan promises no more than `one`; what it finds must have been written all the same. */
  async #scan(): Promise<void> {
    const { history, process, random, rarities, rareRandom } = this.#options
    const invoked = history.nextOrder()
    const isIdle = rarities.idleScans > 0 && rareRandom.next() < rarities.idleScans
    const options: ScanTerms = {
      reverse: random.below(2) === 0,
      ...(isIdle ? this.#idleScan() : { limit: 1 + random.below(100) }),
    }
    const { gte = '', lt = '~' } = options
    try {
      let last: string | undefined
      for await (const [keyBytes, valueBytes] of this.#client.entries(options)) {
        const key = utf8Decode(keyBytes)
        if (key < gte || key >= lt) throw new Error(`a scan from ${gte} to ${lt} found ${key}`)
        if (last !== undefined && (options.reverse ? key >= last : key <= last)) {
          throw new Error(`a scan found ${key} after ${last}`)
        }
        last = key
        const value = utf8Decode(valueBytes)
        history.read({
          key,
          value,
          client: process.name,
          consistency: 'one',
          session: false,
          invoked,
        })
        if (isIdle && rareRandom.below(4) === 0) {
          await delay(process.clock, rareRandom.next() * IDLE_MS_MAX)
          if (this.#isStopping) break
        }
      }
      history.outcomes.ok++
    } catch (error) {
      this.#failed('scan', error)
    }
  }

  /** Of some range, in pages of a few entries. */
  #idleScan(): ScanTerms {
    const { rareRandom } = this.#options
    const pageEntries = 1 + rareRandom.below(3)
    const [one, other] = [this.#rareKey(), this.#rareKey()]
    const bounds = one < other ? { gte: one, lt: other } : { gte: other, lt: one }
    return { ...bounds, pageEntries, readAheadPages: 1 }
  }

  #rareKey(): string {
    const { rareRandom, workload } = this.#options
    return workload.keyAt(rareRandom.below(workload.keys))
  }

  /** What is known of a call that failed. Only errors of the store are expected. */
  #failed(what: string, error: unknown): 'rejected' | 'unknown' {
    if (!(error instanceof KvError)) throw error
    const { history, note } = this.#options
    note(what, `failed, ${error.outcome}: ${error.code} ${error.message}`)
    history.outcomes[error.outcome]++
    history.errors.set(error.code, (history.errors.get(error.code) ?? 0) + 1)
    return error.outcome
  }
}

function describeWrites(writes: readonly Write[]): string {
  const some = writes.slice(0, DESCRIBED_MAX).map(describeWrite).join(', ')
  const left = writes.length - DESCRIBED_MAX
  return left > 0 ? `${some} and ${left} more` : some
}

function ttlOption(ttlMs: number): { readonly ttlMs?: number } {
  return ttlMs === 0 ? {} : { ttlMs }
}
