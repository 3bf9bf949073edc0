/**
 * After a restart: makes hints of the duties that the log still has, so that every write that was
 * acknowledged reaches all of its replicas, with no help from a client or from anti-entropy. It is
 * done before the node serves; then nothing is owed that is not a hint, and the log is let go.
 *
 * Duties that were acknowledged since the last record become hints, too: sending them again changes
 * nothing. A duty by an older ring is one to all who own the partition now.
 *
 * A log that begins late (it had come to take more than it may, so that the hold on it was broken)
 * or ends early (writes that asked for less than a sync, then a power loss right after a crash)
 * cannot say what was owed. Then all partitions of all peers are marked for a comparison.
 */
import { DecodeError } from '../bytes.ts'
import { ChangesGoneError, CorruptionError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { type DutyRun, decodeDuties } from './duty-format.ts'
import { readDutyRecord, writeDutyRecord } from './duty-ledger.ts'
import type { HintStore } from './hint-store.ts'
import { enginePartition } from './partition.ts'
import type { PeerNumbers } from './peer-numbers.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'
import type { Store, StoreOperation } from './store.ts'
import { isThere, otherOwners } from './write-acks.ts'

/** Keys of hints that are held before they are written. */
const KEYS_AT_ONCE = 4096

/** A batch of the log; the engine's ChangeBatch satisfies it. */
export interface LoggedBatch {
  readonly lastSequence: number
  readonly operations: readonly { readonly type: string; readonly key: Uint8Array }[]
  readonly logData?: Uint8Array
}

/** The engine's Db satisfies it. */
export interface LoggedBatches {
  readonly sequence: number
  /** What an earlier process kept of the log; undefined when the log was not to be kept. */
  readonly openingHold: { readonly sequence: number; readonly broken: boolean } | undefined
  changes(options: { readonly after: number }): AsyncIterable<LoggedBatch>
}

export interface DutyRecoveryOptions {
  readonly self: NodeId
  readonly log: LoggedBatches
  readonly store: Store
  readonly hints: HintStore
  readonly numbers: PeerNumbers
  readonly table: RingTable
  readonly logger: Logger
  /** The directory, for messages. */
  readonly path: string
}

/**
 * Resolves to the sequence before which nothing is owed any more. Requires that all members of the
 * ring have numbers, and that nothing is written meanwhile.
 */
export async function recoverDuties(options: DutyRecoveryOptions): Promise<number> {
  const { log, store, path, logger } = options
  const { sequence: last, openingHold } = log
  const recorded = await readDutyRecord(store, path)
  const oldest = openingHold?.sequence ?? last + 1
  if (recorded.isOwed && recorded.sequence < oldest) {
    const needed = recorded.sequence
    logger.warn('the log begins behind what other nodes are owed; all will be compared', {
      needed,
      oldest,
    })
    await markEverything(options)
  }
  const first = Math.max(recorded.sequence, oldest)
  let count = 0
  if (first <= last) {
    try {
      count = await readDuties(options, first - 1, last)
    } catch (error) {
      const isCut = error instanceof ChangesGoneError || error instanceof CorruptionError
      if (!isCut && !(error instanceof DecodeError)) throw error
      logger.warn('the log does not say all that other nodes are owed; all will be compared', {
        error,
      })
      await markEverything(options)
    }
  }
  const next = log.sequence + 1
  await writeDutyRecord(store, { sequence: next, isOwed: false }, 'sync')
  if (count > 0) logger.info('writes that other nodes may lack became hints', { count })
  return next
}

async function readDuties(
  options: DutyRecoveryOptions,
  after: number,
  last: number,
): Promise<number> {
  const owed = new OwedKeys(options)
  for await (const { logData, operations, lastSequence } of options.log.changes({ after })) {
    if (logData !== undefined) {
      const { epoch, runs } = decodeDuties(logData)
      for (const [run, key] of runsOver(runs, operations)) owed.add(epoch, run, key)
    }
    if (owed.heldCount >= KEYS_AT_ONCE) await owed.write()
    if (lastSequence >= last) break
  }
  await owed.write()
  return owed.count
}

function* runsOver(
  runs: readonly DutyRun[],
  operations: readonly Pick<StoreOperation, 'key'>[],
): Generator<[DutyRun, Uint8Array]> {
  let at = 0
  for (const run of runs) {
    for (let rest = run.count; rest > 0 && at < operations.length; rest--) {
      yield [run, operations[at++]!.key]
    }
  }
}

/** Keys that become hints, by peer. */
class OwedKeys {
  readonly #options: DutyRecoveryOptions
  #keys = new Map<number, Uint8Array[]>()
  heldCount = 0
  count = 0

  constructor(options: DutyRecoveryOptions) {
    this.#options = options
  }

  add(epoch: number, { peers }: DutyRun, key: Uint8Array): void {
    if (peers.length === 0) return
    const { numbers, table, self } = this.#options
    for (const owner of otherOwners(table, enginePartition(key), self)) {
      const number = numbers.numberOf(owner)
      if (number === undefined) continue
      if (epoch < table.ring.epoch || peers.includes(number)) this.#owe(number, key)
    }
  }

  #owe(number: number, key: Uint8Array): void {
    const keys = this.#keys.get(number)
    if (keys === undefined) this.#keys.set(number, [key])
    else keys.push(key)
    this.heldCount++
    this.count++
  }

  async write(): Promise<void> {
    const all = this.#keys
    this.#keys = new Map()
    this.heldCount = 0
    for (const [number, keys] of all) await this.#options.hints.add(number, keys)
  }
}

async function markEverything({ self, table, hints, numbers }: DutyRecoveryOptions): Promise<void> {
  const partitions = Array.from({ length: table.ring.partitionCount }, (_, partition) => partition)
  for (const member of table.ring.members) {
    const { nodeId } = member
    const number = numbers.numberOf(nodeId)
    if (nodeId === self || number === undefined || !isThere(member)) continue
    const shared = partitions.filter(
      partition => table.isOwner(partition, self) && table.isOwner(partition, nodeId),
    )
    await hints.mark(number, shared)
  }
}
