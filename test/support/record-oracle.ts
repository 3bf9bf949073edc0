/**
 * Knows what a store may hold, key by key, from nothing but the calls that were made and how they
 * ended. It lives in another process than the store, so a kill of the store takes nothing of it.
 *
 * The law of a key (a register with atomic writes): it holds what one of its writes left, and that
 * write was not rejected, and no acknowledged write began after that write had ended. A write of
 * unknown outcome never ended, so it may have happened, or not; once a check has seen which, it
 * stays so. A batch of unknown outcome happened as a whole or not at all. What was never written
 * is not there.
 *
 * Calls in flight at the same time on one key may take effect in either order.
 */
import { OracleError } from './crash-oracle.ts'

/** Keys and values are latin1 text, a character a byte, so that text order is key order. */
export interface RecordOperation {
  readonly key: string
  /** Undefined deletes. */
  readonly value: string | undefined
  /** Milliseconds; 0 for never. */
  readonly ttlMs: number
}

/** A store's clock may run ahead of the wall by so much: see hybrid-logical-clock.ts. */
const CLOCK_AHEAD_MS = 1500
const EXAMPLES_MAX = 8

interface KeyWrite {
  readonly value: string | undefined
  readonly start: number
  /** Infinity until acknowledged, or until it can happen no more. */
  end: number
  /** It is alive before this wall-clock time, if written, and gone after expiryMaxMs. */
  readonly expiryMinMs: number
  expiryMaxMs: number
}

interface KeyRecord {
  /** Those that may be what the key holds. */
  writes: KeyWrite[]
  /** The check that saw it last. */
  seenBy: number
}

/** A call in flight; a handle for how it ends. */
export interface RecordTicket {
  readonly writes: readonly (readonly [record: KeyRecord, write: KeyWrite, key: string])[]
  readonly ttlMaxMs: number
  readonly operationCount: number
}

export interface OracleCounts {
  /** Operations, those of batches one by one. */
  acknowledged: number
  rejected: number
  unknown: number
  /** Of the unknown ones, as far as checks could tell: happened, and did not. */
  surfaced: number
  vanished: number
}

export type ViolationKind =
  /** Not there, although it must be. */
  | 'lost'
  /** Another value than any that may be there: an old one, or one that nobody wrote. */
  | 'wrong'
  /** A key that was never written. */
  | 'invented'
  /** Still there after its time to live, or back again. */
  | 'late'
  /** A part of a batch. */
  | 'torn'
  /** Out of order, or twice. */
  | 'disordered'

export class ViolationError extends OracleError {
  readonly counts: Readonly<Partial<Record<ViolationKind, number>>>

  constructor(counts: Partial<Record<ViolationKind, number>>, examples: readonly string[]) {
    const list = Object.entries(counts).map(([kind, count]) => `${count} ${kind}`)
    super(`${list.join(', ')}: ${examples.join('; ')}`)
    this.counts = counts
  }
}

const NEVER = Number.POSITIVE_INFINITY
const ABSENT: KeyWrite = {
  value: undefined,
  start: -1,
  end: -1,
  expiryMinMs: NEVER,
  expiryMaxMs: NEVER,
}

export class RecordOracle {
  readonly counts: OracleCounts = {
    acknowledged: 0,
    rejected: 0,
    unknown: 0,
    surfaced: 0,
    vanished: 0,
  }
  readonly #records = new Map<string, KeyRecord>()
  /** Batches and single writes of unknown outcome since the last settlement. */
  #unknown: RecordTicket[] = []
  /** Records with more than one write that may count. */
  readonly #open = new Set<KeyRecord>()
  #tick = 0
  #checks = 0

  /** Keys that were ever written, or tried to. */
  get keyCount(): number {
    return this.#records.size
  }

  /** Before the call. Of several operations on a key the last one counts. */
  submit(operations: readonly RecordOperation[], nowMs: number): RecordTicket {
    const start = this.#tick++
    const last = new Map<string, RecordOperation>()
    for (const operation of operations) last.set(operation.key, operation)
    let ttlMaxMs = 0
    const writes = [...last.values()].map(({ key, value, ttlMs }) => {
      const expiryMinMs = ttlMs === 0 ? NEVER : nowMs + ttlMs
      ttlMaxMs = Math.max(ttlMaxMs, ttlMs)
      const write: KeyWrite = { value, start, end: NEVER, expiryMinMs, expiryMaxMs: NEVER }
      const record = this.#record(key)
      record.writes.push(write)
      this.#open.add(record)
      return [record, write, key] as const
    })
    return { writes, ttlMaxMs, operationCount: operations.length }
  }

  acknowledge(ticket: RecordTicket, nowMs: number): void {
    const end = this.#tick++
    this.counts.acknowledged += ticket.operationCount
    for (const [record, write] of ticket.writes) {
      write.end = end
      setExpiry(write, ticket, nowMs)
      record.writes = record.writes.filter(other => other === write || other.end >= write.start)
      this.#close(record)
    }
  }

  /** The answer was that nothing was written. */
  reject(ticket: RecordTicket): void {
    this.counts.rejected += ticket.operationCount
    for (const [record, write] of ticket.writes) {
      record.writes = record.writes.filter(other => other !== write)
      this.#close(record)
    }
  }

  /** No answer will come any more: it may have happened, up to now. */
  leaveUnknown(ticket: RecordTicket, nowMs: number): void {
    this.counts.unknown += ticket.operationCount
    for (const [, write] of ticket.writes) setExpiry(write, ticket, nowMs)
    this.#unknown.push(ticket)
  }

  /** No call is in flight anywhere: what has not happened by now never will. */
  nothingPending(): void {
    const end = this.#tick++
    for (const ticket of this.#unknown) {
      for (const [, write] of ticket.writes) write.end = Math.min(write.end, end)
    }
  }

  /** Whether any outcome is still open: unknown, or two writes at the same time. */
  get isSettled(): boolean {
    return this.#open.size === 0
  }

  /** Begins to compare what a store holds. Requires that no call is in flight. */
  check(what: string, startMs: number): RecordCheck {
    return new RecordCheck(what, startMs, {
      id: ++this.#checks,
      records: this.#records,
      unknown: this.#unknown,
      settle: result => this.#settle(result),
    })
  }

  /** From now on a key holds what it was found to hold, and what did not happen never will. */
  #settle({ found, surfaced, vanished }: CheckResult): void {
    this.nothingPending()
    this.counts.surfaced += surfaced
    this.counts.vanished += vanished
    for (const record of this.#open) {
      const { isThere, writes } = found.get(record) ?? { isThere: true, writes: record.writes }
      record.writes = isThere ? [...writes] : [ABSENT]
      this.#close(record)
    }
    this.#unknown = []
  }

  #record(key: string): KeyRecord {
    let record = this.#records.get(key)
    if (record === undefined) {
      record = { writes: [ABSENT], seenBy: 0 }
      this.#records.set(key, record)
    }
    return record
  }

  #close(record: KeyRecord): void {
    if (record.writes.length === 1) this.#open.delete(record)
  }
}

function setExpiry(write: KeyWrite, ticket: RecordTicket, nowMs: number): void {
  if (write.expiryMinMs === NEVER) return
  write.expiryMaxMs = nowMs + ticket.ttlMaxMs + CLOCK_AHEAD_MS
}

/** What a key was found to hold, and the writes that explain it. */
interface Finding {
  readonly isThere: boolean
  readonly writes: readonly KeyWrite[]
}

interface CheckResult {
  readonly found: ReadonlyMap<KeyRecord, Finding>
  readonly surfaced: number
  readonly vanished: number
}

interface CheckParts {
  readonly id: number
  readonly records: Map<string, KeyRecord>
  readonly unknown: readonly RecordTicket[]
  readonly settle: (result: CheckResult) => void
}

/** Which order a scan promises. */
export type ScanOrder = 'ascending' | 'descending' | 'any'

/** One comparison of a store with the oracle: all entries, or some keys. */
export class RecordCheck {
  readonly #what: string
  readonly #startMs: number
  readonly #parts: CheckParts
  /** What was found for records whose outcome was open. */
  readonly #found = new Map<KeyRecord, Finding>()
  readonly #counts: Partial<Record<ViolationKind, number>> = {}
  readonly #examples: string[] = []
  #last: string | undefined
  #liveCount = 0
  #surfaced = 0
  #vanished = 0

  constructor(what: string, startMs: number, parts: CheckParts) {
    this.#what = what
    this.#startMs = startMs
    this.#parts = parts
  }

  get liveCount(): number {
    return this.#liveCount
  }

  /** An entry that a scan delivered. */
  entry(key: string, value: string, order: ScanOrder): void {
    const last = this.#last
    this.#last = key
    if (last !== undefined && !isInOrder(last, key, order)) {
      this.#violation('disordered', key, `came after ${shown(last)}`)
    }
    this.#liveCount++
    const record = this.#parts.records.get(key)
    if (record === undefined) {
      this.#violation('invented', key, `has ${shown(value)}, and was never written`)
      return
    }
    if (record.seenBy === this.#parts.id) this.#violation('disordered', key, 'came twice')
    record.seenBy = this.#parts.id
    this.#present(record, key, value)
  }

  /** What a read of one key answered; `nowMs` is after the answer. */
  read(key: string, value: string | undefined, nowMs: number): void {
    const record = this.#parts.records.get(key)
    if (record === undefined) {
      if (value !== undefined) this.#violation('invented', key, `has ${shown(value)}`)
    } else if (value === undefined) this.#absent(record, key, nowMs)
    else this.#present(record, key, value)
  }

  /** Of a scan of everything: what it did not deliver is not there. */
  endOfScan(nowMs: number): void {
    for (const [key, record] of this.#parts.records) {
      if (record.seenBy !== this.#parts.id) this.#absent(record, key, nowMs)
    }
    for (const ticket of this.#parts.unknown) this.#judge(ticket)
    this.end()
    this.#parts.settle({
      found: this.#found,
      surfaced: this.#surfaced,
      vanished: this.#vanished,
    })
  }

  /** Throws ViolationError when anything was wrong. */
  end(): void {
    if (this.#examples.length > 0) throw new ViolationError(this.#counts, this.#examples)
  }

  #present(record: KeyRecord, key: string, value: string): void {
    const { writes } = record
    const written = writes.filter(write => write.value === value)
    const matching = written.filter(write => this.#startMs < write.expiryMaxMs)
    if (matching.length > 0) this.#note(record, true, matching)
    else if (written.length > 0) {
      const lateMs = Math.round(this.#startMs - Math.max(...written.map(w => w.expiryMaxMs)))
      this.#violation('late', key, `${shown(value)} is there ${lateMs} ms after its time`)
    } else this.#violation('wrong', key, `has ${shown(value)}, not ${expectation(writes)}`)
  }

  #absent(record: KeyRecord, key: string, nowMs: number): void {
    const { writes } = record
    const first = writes[0]!
    if (writes.length === 1 && first.value === undefined) return
    const matching = writes.filter(write => write.value === undefined || nowMs >= write.expiryMinMs)
    if (matching.length === 0) {
      this.#violation('lost', key, `is not there, but must have ${expectation(writes)}`)
      return
    }
    // Its time is over, and nothing may bring it back.
    if (writes.length === 1) record.writes = [ABSENT]
    else this.#note(record, false, matching)
  }

  #note(record: KeyRecord, isThere: boolean, writes: readonly KeyWrite[]): void {
    if (record.writes.length > 1) this.#found.set(record, { isThere, writes })
  }

  /** All of a call of unknown outcome happened, or nothing of it did. */
  #judge(ticket: RecordTicket): void {
    let happened: string | undefined
    let missing: string | undefined
    for (const [record, write, key] of ticket.writes) {
      const found = this.#found.get(record)?.writes
      if (found === undefined) continue
      if (found.includes(write)) {
        if (found.length === 1) happened = key
      } else if (found.every(other => other.end < write.start)) missing = key
    }
    const count = ticket.operationCount
    if (happened !== undefined && missing !== undefined) {
      const what = `its batch of ${count} left a trace here, and not at ${shown(missing)}`
      this.#violation('torn', happened, what)
    } else if (happened !== undefined) this.#surfaced += count
    else if (missing !== undefined) this.#vanished += count
  }

  #violation(kind: ViolationKind, key: string, what: string): void {
    this.#counts[kind] = (this.#counts[kind] ?? 0) + 1
    if (this.#examples.length >= EXAMPLES_MAX) return
    this.#examples.push(`${this.#what}: ${kind}: ${shown(key)} ${what}`)
  }
}

function isInOrder(last: string, key: string, order: ScanOrder): boolean {
  if (order === 'any') return true
  return order === 'ascending' ? last < key : last > key
}

function expectation(writes: readonly KeyWrite[]): string {
  return writes.map(({ value }) => (value === undefined ? 'nothing' : shown(value))).join(' or ')
}

/** Latin1 text for a message: bytes as text where they are, cut when long. */
function shown(text: string): string {
  return JSON.stringify(text.length <= 60 ? text : `${text.slice(0, 60)}…`)
}
