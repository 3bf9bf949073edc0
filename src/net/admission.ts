/**
 * What all connections of a server share of its memory and attention, and who gets some.
 *
 * Four budgets: requests that wait for an answer (their count, and their bytes), frames that have
 * come in part, and replies that slow readers have not taken. While a budget lasts anyone may use
 * it, one client all of it. Once it is used up only those go on that hold less than their fair
 * part of it, the budget divided by the clients: so one client can use up what it can reach, and
 * the others hardly notice. What is held is therefore at most twice the budget.
 *
 * A request that finds a budget used up is answered KV_OVERLOADED before the handler sees it, so
 * refusing costs almost nothing.
 */
import { assert } from '../assert.ts'
import { OverloadedError } from '../errors.ts'
import type { ServerLimits } from './limits.ts'
import type { ReceiveBudget } from './receive-buffer.ts'

export class Admission {
  readonly #limits: ServerLimits
  readonly #held = { inFlight: 0, inFlightBytes: 0, receiveBytes: 0, outputBytes: 0, scans: 0 }
  #clients = 0

  constructor(limits: ServerLimits) {
    this.#limits = limits
  }

  /** Clients that share. */
  get clients(): number {
    return this.#clients
  }

  get inFlight(): number {
    return this.#held.inFlight
  }

  get inFlightBytes(): number {
    return this.#held.inFlightBytes
  }

  get receiveBytes(): number {
    return this.#held.receiveBytes
  }

  /** Replies that wait in sockets, as far as the connections have told. */
  get outputBytes(): number {
    return this.#held.outputBytes
  }

  get scans(): number {
    return this.#held.scans
  }

  overloaded(why: string): OverloadedError {
    return new OverloadedError(
      `the server is overloaded: ${why}`,
      this.#limits.overloadRetryAfterMs,
    )
  }

  /** What a new connection holds. It counts as a client only once it has joined. */
  share(): Share {
    return new Share(this, this.#limits, this.#held)
  }

  /** Called by shares only. */
  joined(count: 1 | -1): void {
    this.#clients += count
    assert(this.#clients >= 0, 'a client leaves once')
  }
}

/** What one connection holds of the budgets. */
export class Share implements ReceiveBudget {
  readonly #admission: Admission
  readonly #limits: ServerLimits
  readonly #all: Held
  readonly #own: Held = { inFlight: 0, inFlightBytes: 0, receiveBytes: 0, outputBytes: 0, scans: 0 }
  #hasJoined = false

  constructor(admission: Admission, limits: ServerLimits, all: Held) {
    this.#admission = admission
    this.#limits = limits
    this.#all = all
  }

  get receiveBytes(): number {
    return this.#own.receiveBytes
  }

  get outputBytes(): number {
    return this.#own.outputBytes
  }

  /** The connection is a client now, with a part of its own. */
  join(): void {
    assert(!this.#hasJoined, 'a client joins once')
    this.#hasJoined = true
    this.#admission.joined(1)
  }

  /** Gives back everything. */
  leave(): void {
    for (const name of HELD_NAMES) {
      this.#all[name] -= this.#own[name]
      this.#own[name] = 0
    }
    if (this.#hasJoined) this.#admission.joined(-1)
    this.#hasJoined = false
  }

  /** False when the budget of `max` is used up, and this client's part of it as well. */
  #has(name: HeldName, wanted: number, max: number): boolean {
    if (this.#all[name] + wanted <= max) return true
    return this.#own[name] + wanted <= max / Math.max(1, this.#admission.clients)
  }

  /** Throws OverloadedError when a request of `size` bytes must not begin now. */
  check(size: number): void {
    const all = this.#all
    const limits = this.#limits
    const hasAll =
      all.inFlight < limits.inFlightMax &&
      all.inFlightBytes + size <= limits.inFlightBytesMax &&
      all.outputBytes <= limits.outputTotalBytesMax
    if (!hasAll) this.#checkPart(size)
  }

  #checkPart(size: number): void {
    const { inFlightMax, inFlightBytesMax, outputTotalBytesMax } = this.#limits
    if (!this.#has('inFlight', 1, inFlightMax)) {
      throw this.#admission.overloaded(`${inFlightMax} requests wait for an answer`)
    }
    if (!this.#has('inFlightBytes', size, inFlightBytesMax)) {
      throw this.#admission.overloaded(`requests of ${inFlightBytesMax} bytes wait for an answer`)
    }
    if (!this.#has('outputBytes', 0, outputTotalBytesMax)) throw this.#tooSlow()
  }

  #tooSlow(): OverloadedError {
    const { outputTotalBytesMax } = this.#limits
    const why = `replies of ${outputTotalBytesMax} bytes wait for slow readers`
    return this.#admission.overloaded(why)
  }

  /** Counts a request that could not be answered at once. */
  begin(size: number): void {
    this.#own.inFlight++
    this.#all.inFlight++
    this.#own.inFlightBytes += size
    this.#all.inFlightBytes += size
  }

  /** Requests that were counted one by one end together, `count` of `size` bytes in all. */
  end(size: number, count = 1): void {
    this.#own.inFlight -= count
    this.#all.inFlight -= count
    this.#own.inFlightBytes -= size
    this.#all.inFlightBytes -= size
    assert(this.#own.inFlight >= 0 && this.#own.inFlightBytes >= 0, 'every request ends once')
  }

  #add(name: HeldName, amount: number): void {
    this.#own[name] += amount
    this.#all[name] += amount
    assert(this.#own[name] >= 0, 'no more is given back than was taken')
  }

  reserve(size: number): boolean {
    if (!this.#has('receiveBytes', size, this.#limits.receiveBytesMax)) return false
    this.#add('receiveBytes', size)
    return true
  }

  release(size: number): void {
    this.#add('receiveBytes', -size)
  }

  /** Tells how much waits for this reader now. */
  setOutput(bytes: number): void {
    this.#add('outputBytes', bytes - this.#own.outputBytes)
  }

  /** Bytes that a reply may have now; the caller looks at this reader's own limit. */
  get outputRoom(): number {
    const { outputTotalBytesMax } = this.#limits
    const fair = outputTotalBytesMax / Math.max(1, this.#admission.clients)
    const left = outputTotalBytesMax - this.#all.outputBytes
    return Math.max(0, left, Math.floor(fair) - this.#own.outputBytes)
  }

  /** Throws OverloadedError when a reply of `size` bytes must not wait here. */
  checkOutput(size: number): void {
    if (size > this.outputRoom) throw this.#tooSlow()
  }

  /** Throws OverloadedError when this client must not open a further scan. */
  checkScan(): void {
    const { scansMax, scansTotalMax } = this.#limits
    if (this.#own.scans >= scansMax) {
      throw this.#admission.overloaded(`this connection has ${scansMax} open scans`)
    }
    if (!this.#has('scans', 1, scansTotalMax)) {
      throw this.#admission.overloaded(`${scansTotalMax} scans are open`)
    }
  }

  openScan(): void {
    this.#add('scans', 1)
  }

  closeScan(): void {
    this.#add('scans', -1)
  }
}

interface Held {
  inFlight: number
  inFlightBytes: number
  receiveBytes: number
  outputBytes: number
  scans: number
}

type HeldName = keyof Held
const HELD_NAMES: readonly HeldName[] = [
  'inFlight',
  'inFlightBytes',
  'receiveBytes',
  'outputBytes',
  'scans',
]
