/**
 * What clients asked, when, and what they were told: the one thing that the checkers go by.
 *
 * Every put has a value of its own, so that whoever meets it knows whose it is. The version of a
 * write is known once a client has sent it. `invoked` and `completed` count everything that clients
 * began and were told, so that of two of them it is known which came first.
 */
import type { Consistency, Durability } from '../../../src/key-value-store.ts'
import { versionTimeMs } from '../../../src/write-version.ts'
import type { CrashKind } from './machine.ts'
import { trueWallMs } from './machine-clock.ts'
import { Tombstones } from './tombstones.ts'

/** `pending`: the simulation ended before its client was told. */
export type Outcome = 'ok' | 'rejected' | 'unknown' | 'pending'

export interface Write {
  readonly key: string
  /** Undefined for a deletion. */
  readonly value: string | undefined
  readonly client: string
  readonly consistency: Consistency
  readonly invoked: number
  readonly invokedMs: number
  completed: number
  outcome: Outcome
  /** Its client left the version to the node that takes it. */
  readonly isVersionedByNode: boolean
  /** From the time of its version on, in milliseconds; 0 for ever. */
  readonly ttlMs: number
  /** What an acknowledgement at `one` takes of the disk. */
  readonly durability: Durability
  /** Of one call with several: the same number. */
  readonly batch?: number | undefined
  /** It may be gone again, whatever its client was told: see History.crashed. */
  mayBeLost?: boolean
  /**
   * 32 hexadecimal digits, which compare as the version does; undefined when no client sent it, and
   * no node passed it on or stored it. Until it is stored a node may version its own anew.
   */
  version: string | undefined
  /** A node has submitted it to its engine. */
  isStored?: boolean
  /** How far that was ahead of the time when it was first stored, or else sent. Milliseconds. */
  aheadMs?: number
}

/** One key of a get, a getMany or a scan, and what was found. */
export interface Read {
  readonly key: string
  /** Undefined: nothing. */
  readonly value: string | undefined
  readonly client: string
  readonly consistency: Consistency
  /** Its client asked to see what it wrote itself. */
  readonly session: boolean
  readonly invoked: number
  readonly completed: number
  readonly completedMs: number
}

export interface NewWrite {
  readonly key: string
  readonly value: string | undefined
  readonly client: string
  readonly consistency: Consistency
  readonly isVersionedByNode?: boolean
  readonly ttlMs?: number
  readonly durability?: Durability
  readonly batch?: number | undefined
}

export class History {
  readonly writes: Write[] = []
  readonly reads: Read[] = []
  /** Calls by what they were told. */
  readonly outcomes = { ok: 0, rejected: 0, unknown: 0 }
  /** Errors by their code. */
  readonly errors = new Map<string, number>()
  readonly tombstones = new Tombstones()
  /** Writes that a crash may take back. */
  readonly #weak: Write[] = []
  readonly #byValue = new Map<string, Write>()
  /** By key, ascending: when something was stored by some node. */
  readonly #storedAt = new Map<string, number[]>()
  readonly #nowMs: () => number
  /** When it was, of each order. */
  readonly #times: number[] = []
  #valueCount = 0
  #batchCount = 0

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** A value that no other write has. */
  nextValue(client: string, size: number): string {
    return `${client}:${this.#valueCount++}:`.padEnd(size, '.')
  }

  /** Of a call with several writes. */
  nextBatch(): number {
    return this.#batchCount++
  }

  /** The place of something that begins or ends now. */
  nextOrder(): number {
    return this.#times.push(this.#nowMs()) - 1
  }

  /** The true time at that place, in milliseconds since the Unix epoch. */
  wallMsAt(order: number): number {
    return trueWallMs({ nowMs: this.#times[order]! })
  }

  begin(write: NewWrite): Write {
    const begun: Write = {
      isVersionedByNode: false,
      ttlMs: 0,
      durability: 'sync',
      ...write,
      invoked: this.nextOrder(),
      invokedMs: this.#nowMs(),
      completed: Number.POSITIVE_INFINITY,
      outcome: 'pending',
      version: undefined,
    }
    this.writes.push(begun)
    if (begun.durability !== 'sync' && begun.consistency === 'one') this.#weak.push(begun)
    if (begun.value === undefined) this.tombstones.begun(begun)
    else this.#byValue.set(begun.value, begun)
    return begun
  }

  end(writes: readonly Write[], outcome: Outcome): void {
    for (const write of writes) {
      write.completed = this.nextOrder()
      write.outcome = outcome === 'ok' && write.mayBeLost === true ? 'unknown' : outcome
      const isUnknown = write.value === undefined && write.version === undefined
      if (outcome === 'ok' && isUnknown) write.version = this.tombstones.versionOf(write)
    }
  }

  read(read: Omit<Read, 'completed' | 'completedMs'>): void {
    this.reads.push({ ...read, completed: this.nextOrder(), completedMs: this.#nowMs() })
  }

  /**
   * A node ended like this: what it had acknowledged to write later is lost, unless another one has
   * it by then. So no write at less than `sync` counts as acknowledged any more that was begun
   * before, at `interval` if it was the power.
   */
  crashed(kind: CrashKind): void {
    for (const write of this.#weak) {
      if (write.durability === 'interval' && kind === 'kill') continue
      write.mayBeLost = true
      if (write.outcome === 'ok') write.outcome = 'unknown'
    }
  }

  /** A node stores something under the key now, with this version if it is a tombstone. */
  stored(key: string, tombstone?: string): void {
    const order = this.#times.length
    if (tombstone !== undefined) this.tombstones.stored(key, tombstone, order)
    const times = this.#storedAt.get(key)
    if (times === undefined) this.#storedAt.set(key, [order])
    else if (times.at(-1) !== order) times.push(order)
  }

  /** Whether some node stored anything under the key of the write before its client was told. */
  wasStoredMeanwhile({ key, invoked, completed }: Write): boolean {
    const times = this.#storedAt.get(key) ?? []
    return times.some(at => invoked < at && at <= completed)
  }

  writeOf(value: string): Write | undefined {
    return this.#byValue.get(value)
  }

  writesByKey(): Map<string, Write[]> {
    return byKey(this.writes)
  }

  readsByKey(): Map<string, Read[]> {
    return byKey(this.reads)
  }
}

function byKey<T extends { readonly key: string }>(items: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(item.key)
    if (group === undefined) groups.set(item.key, [item])
    else group.push(item)
  }
  return groups
}

/** When it reads as absent, in milliseconds since the Unix epoch; Infinity for never. */
export function expiryOf({ version, ttlMs }: Write): number {
  if (ttlMs === 0 || version === undefined) return Number.POSITIVE_INFINITY
  return versionTimeMs(Buffer.from(version, 'hex')) + ttlMs
}

/** For messages. */
export function describeWrite(write: Write): string {
  const { key, client, consistency, invokedMs, outcome, version, ttlMs } = write
  const what = write.value === undefined ? `delete ${key}` : `put ${key} = ${shorten(write.value)}`
  const when = `at ${invokedMs.toFixed(3)} ms${ttlMs === 0 ? '' : ` for ${ttlMs} ms`}`
  return `${what} (${client}, ${consistency}, ${outcome}, ${when}, version ${version ?? 'none'})`
}

export function describeRead(read: Read): string {
  const found = read.value === undefined ? 'nothing' : shorten(read.value)
  const when = `${read.completedMs.toFixed(3)} ms`
  return `read of ${read.key} found ${found} (${read.client}, ${read.consistency}, at ${when})`
}

function shorten(value: string): string {
  return value.replace(/\.+$/, '')
}
