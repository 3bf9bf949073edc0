/**
 * Follows the changes of a database as a replica would: applies each batch to a sorted map and
 * remembers how far it has come. Its memory survives the crashes of the database.
 */
import assert from 'node:assert/strict'
import type { ChangeBatch, ChangeFeed } from '../../src/engine/index.ts'
import { text } from './crash-oracle.ts'

export class ChangeFollower {
  /** Values, and when they expire; 0 is never. */
  readonly entries = new Map<string, { readonly value: string; readonly expiryMs: number }>()
  readonly logData: string[] = []
  sequence = 0
  batchCount = 0

  apply({ sequence, lastSequence, operations, logData }: ChangeBatch): void {
    assert.equal(sequence, this.sequence + 1, 'without a gap, each once')
    assert.equal(lastSequence, sequence + operations.length - 1)
    this.sequence = lastSequence
    this.batchCount++
    if (logData !== undefined) this.logData.push(text(logData))
    for (const operation of operations) {
      const key = text(operation.key)
      if (operation.type === 'put') {
        const { value, expiryMs = 0 } = operation
        this.entries.set(key, { value: text(value), expiryMs })
      } else if (operation.type === 'del') this.entries.delete(key)
      else this.#deleteRange(key, text(operation.end))
    }
  }

  /** Takes batches until it has the sequence. */
  async follow(feed: ChangeFeed, sequence: number): Promise<void> {
    while (this.sequence < sequence) {
      const { value } = await feed.next()
      if (value === undefined) throw new Error('the feed has ended')
      this.apply(value)
      assert.equal(feed.sequence, this.sequence)
    }
  }

  /** What a read at that time must find. */
  state(nowMs: number): Map<string, string> {
    const live = [...this.entries].filter(([, { expiryMs }]) => expiryMs === 0 || expiryMs > nowMs)
    live.sort(([a], [b]) => (a < b ? -1 : 1))
    return new Map(live.map(([key, { value }]) => [key, value]))
  }

  #deleteRange(from: string, to: string): void {
    for (const key of [...this.entries.keys()]) {
      if (from <= key && (to === '' || key < to)) this.entries.delete(key)
    }
  }
}
