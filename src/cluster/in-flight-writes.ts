/**
 * Writes that were submitted to the store and are not over yet, which the store does not show.
 *
 * Most writes are never asked for, so a group of them is put in an index only as far as somebody
 * has asked.
 *
 * Invariant: groups, and writes in a group, are in the order of their submission.
 */
import type { Durability } from '../key-value-store.ts'
import { keyName } from './last-of-keys.ts'
import type { LargeDuties, WriteDuties } from './write-duties.ts'

/** Operations in the order in which they take effect; keys and stored forms correspond by index. */
export interface OrderedWrite {
  readonly keys: readonly Uint8Array[]
  readonly stored: readonly Uint8Array[]
  readonly durability: Durability | undefined
  readonly duties: WriteDuties | undefined
}

/** Writes that share a promise: a group commit answers all of its writers at once. */
interface InFlightGroup {
  readonly done: Promise<void>
  /** Resolves, when it is over, to whether it succeeded: visible then, or never. */
  readonly over: Promise<boolean>
  /** In the order of their submission, so that the last on a key has its latest version. */
  readonly writes: OrderedWrite[]
  /** By the name of a key the last stored form, for so many of the writes; see lastIn(). */
  readonly index: Map<string, Uint8Array>
  /** Of those, the names of what this node owes to other replicas, unless it owes them all. */
  readonly owed: Set<string>
  /** Of a large write, which is all of its group. */
  readonly largeDuties: LargeDuties | undefined
  indexedCount: number
  isOver: boolean
}

/** A write to a key that is on its way. */
export interface InFlightWrite {
  readonly stored: Uint8Array
  /** Whether this node owes it to other replicas. */
  readonly isOwed: boolean
  readonly group: Pick<InFlightGroup, 'done' | 'over'>
}

export class InFlightWrites {
  readonly #onOver: ((names: Iterable<string>) => void) | undefined
  #groups: InFlightGroup[] = []

  /** `onOver` is told the name of every key once a write to it is over. */
  constructor(onOver?: (names: Iterable<string>) => void) {
    this.#onOver = onOver
  }

  /** Takes a write that is over when `done` has settled. */
  add(done: Promise<void>, write: OrderedWrite): void {
    const last = this.#groups.at(-1)
    // A promise that has long been resolved may come again, for a write that is visible at once.
    const group = last?.done === done ? last : this.#start(done, new Map(), undefined)
    group.writes.push(write)
  }

  /** Takes a large write: by the name of each key its stored form. */
  addLarge(done: Promise<void>, index: Map<string, Uint8Array>, duties?: LargeDuties): void {
    this.#start(done, index, duties)
  }

  /** The latest write on its way to a key. */
  last(name: string): InFlightWrite | undefined {
    for (let at = this.#groups.length - 1; at >= 0; at--) {
      const group = this.#groups[at]!
      const stored = lastIn(group, name)
      if (stored === undefined) continue
      return { stored, isOwed: group.largeDuties !== undefined || group.owed.has(name), group }
    }
    return undefined
  }

  #start(
    done: Promise<void>,
    index: Map<string, Uint8Array>,
    largeDuties: LargeDuties | undefined,
  ): InFlightGroup {
    const finish = (succeeded: boolean): boolean => {
      group.isOver = true
      if (!succeeded) tellFailed(group)
      this.#onOver?.(namesIn(group))
      this.#groups = this.#groups.filter(other => !other.isOver)
      return succeeded
    }
    // The writers get the failure from `done`; here it only matters that the write is over.
    const over = done.then(
      () => finish(true),
      () => finish(false),
    )
    const common = { writes: [], owed: new Set<string>(), indexedCount: 0, isOver: false }
    const group: InFlightGroup = { done, over, index, largeDuties, ...common }
    this.#groups.push(group)
    return group
  }
}

/** Before anybody who waits for it goes on, and before what it owes has left. */
function tellFailed({ largeDuties, writes }: InFlightGroup): void {
  largeDuties?.failed()
  for (const { duties } of writes) duties?.failed()
}

function* namesIn({ writes, index }: InFlightGroup): Generator<string> {
  // A large write has only the index.
  if (writes.length === 0) yield* index.keys()
  for (const { keys } of writes) for (const key of keys) yield keyName(key)
}

/** Only writes that are compared ask, so what nobody asks for is never put in an index. */
function lastIn(group: InFlightGroup, name: string): Uint8Array | undefined {
  const { writes, index, owed } = group
  for (; group.indexedCount < writes.length; group.indexedCount++) {
    const { keys, stored, duties } = writes[group.indexedCount]!
    for (const [at, key] of keys.entries()) {
      const written = keyName(key)
      index.set(written, stored[at]!)
      if (duties === undefined) owed.delete(written)
      else owed.add(written)
    }
  }
  return index.get(name)
}
