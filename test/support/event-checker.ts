/**
 * Listens to a database and knows what its events must add up to: everything that begins ends, of
 * one kind one at a time where the engine works so, files are deleted once, and the sums are those
 * of the stats.
 */
import assert from 'node:assert/strict'
import type {
  CompactionBeginEvent,
  DbEvent,
  DbStats,
  FlushBeginEvent,
  StallReason,
} from '../../src/engine/index.ts'

export class EventChecker {
  readonly counts = new Map<DbEvent['type'], number>()
  readonly #compactions: CompactionBeginEvent[] = []
  readonly #deleted = new Set<number>()
  #flush: FlushBeginEvent | undefined
  #stall: StallReason | undefined
  #wal: number | undefined
  #flushes = 0
  #flushedBytes = 0
  #merges = 0
  #moves = 0
  #mergedBytes = 0
  #stallCommits = 0
  /** What was wrong first: whoever emits events only logs what listeners throw. */
  #failure: unknown

  /** The listener. */
  take(event: DbEvent): void {
    try {
      this.#check(event)
    } catch (error) {
      this.#failure ??= error
      throw error
    }
  }

  #check(event: DbEvent): void {
    this.counts.set(event.type, (this.counts.get(event.type) ?? 0) + 1)
    switch (event.type) {
      case 'opened':
        assert.equal(this.counts.get('opened'), 1)
        break
      case 'flushBegin':
        assert.equal(this.#flush, undefined, 'one flush at a time')
        this.#flush = event
        break
      case 'flushEnd': {
        const { entries, bytesIn, bytesOut, durationMs, error } = event
        assert.deepEqual(this.#flush, { type: 'flushBegin', entries, bytesIn })
        // A deletion of a range in which there is nothing leaves no table.
        assert.ok(durationMs >= 0 && bytesOut >= 0)
        this.#flush = undefined
        if (error !== undefined) break
        this.#flushes++
        this.#flushedBytes += bytesOut
        break
      }
      case 'compactionBegin':
        this.#compactions.push(event)
        break
      case 'compactionEnd': {
        const { tablesOut, bytesOut, durationMs, error, ...fields } = event
        const begin = JSON.stringify({ ...fields, type: 'compactionBegin' })
        const at = this.#compactions.findIndex(
          other => JSON.stringify({ ...fields, ...other }) === begin,
        )
        assert.ok(at >= 0 && durationMs >= 0, `${begin} began`)
        this.#compactions.splice(at, 1)
        if (error !== undefined) break
        if (event.kind === 'move') this.#moves += event.tablesIn
        else this.#merges++
        this.#mergedBytes += bytesOut
        assert.equal(tablesOut === 0, bytesOut === 0)
        break
      }
      case 'stallBegin':
        assert.equal(this.#stall, undefined, 'one stall at a time')
        this.#stall = event.reason
        break
      case 'stallEnd':
        assert.equal(this.#stall, event.reason)
        assert.ok(event.commits > 0 && event.heldMs <= event.durationMs)
        this.#stallCommits += event.commits
        this.#stall = undefined
        break
      case 'walRotated':
        assert.ok(event.fileNumber > event.previousNumber && event.previousBytes > 64)
        if (this.#wal !== undefined) assert.equal(event.previousNumber, this.#wal)
        this.#wal = event.fileNumber
        break
      case 'walDeleted':
      case 'tableDeleted':
        assert.ok(!this.#deleted.has(event.fileNumber), `${event.fileNumber} is deleted once`)
        this.#deleted.add(event.fileNumber)
        break
      case 'walHoldBroken':
        assert.ok(event.sequence > 0 && event.heldBytes >= 0)
        break
      case 'backgroundError':
      case 'poisoned':
        assert.ok(event.error instanceof Error)
        break
    }
  }

  /** The stats of the same life, taken when nothing ran. */
  compare(stats: DbStats): void {
    if (this.#failure !== undefined) throw this.#failure
    assert.equal(this.counts.get('opened'), 1)
    assert.equal(this.#flushes, stats.flushes.count)
    assert.equal(this.#flushedBytes, stats.flushes.bytesWritten)
    assert.equal(this.#merges, stats.compactions.count)
    assert.equal(this.#moves, stats.compactions.moves)
    assert.equal(this.#mergedBytes, stats.compactions.bytesWritten)
    const isOpen = this.#stall !== undefined
    assert.ok(isOpen || this.#stallCommits === stats.stalls.count, 'every stall was told')
  }
}
