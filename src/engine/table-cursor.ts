/** A cursor over the entries of one table. Its blocks come from a source, one at a time. */
import { assert } from '../assert.ts'
import { BlockReader } from './block.ts'
import { type BlockSource, BlockView } from './block-source.ts'
import { Cursor } from './cursor.ts'
import type { SstableReader } from './sstable-reader.ts'

export class TableCursor extends Cursor {
  readonly #source: BlockSource
  readonly #view = new BlockView()
  readonly #block = new BlockReader()
  #reader: SstableReader | undefined
  /** The block at hand, and the entry in it. */
  #ordinal = -1
  #index = 0

  constructor(source: BlockSource) {
    super()
    this.#source = source
  }

  /** Turns to a table, at no position. */
  open(reader: SstableReader): void {
    this.#reader = reader
    this.#ordinal = -1
    this.valid = false
  }

  override seekToFirst(): void {
    this.valid = false
    this.#enterFrom(0)
  }

  override seekToLast(): void {
    this.valid = false
    const { blockCount } = this.#table()
    if (blockCount === 0) return
    this.#enter(blockCount - 1)
    this.#show(this.#block.count - 1)
  }

  override seek(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    const reader = this.#table()
    this.valid = false
    for (
      let ordinal = reader.findBlock(key, keyStart, keyEnd);
      ordinal < reader.blockCount;
      ordinal++
    ) {
      this.#enter(ordinal)
      const index = this.#block.seek(key, keyStart, keyEnd, sequence)
      if (index < this.#block.count) {
        this.#show(index)
        return
      }
    }
  }

  override next(): void {
    assert(this.valid, 'only a valid cursor moves')
    const index = this.#index + 1
    if (index < this.#block.count) {
      this.#index = index
      this.#block.show(index, this)
      return
    }
    this.valid = false
    this.#enterFrom(this.#ordinal + 1)
  }

  override prev(): void {
    assert(this.valid, 'only a valid cursor moves')
    if (this.#index > 0) {
      this.#index--
      this.#block.show(this.#index, this)
      return
    }
    const ordinal = this.#ordinal - 1
    this.valid = false
    if (ordinal < 0) return
    this.#enter(ordinal)
    this.#show(this.#block.count - 1)
  }

  #table(): SstableReader {
    assert(this.#reader !== undefined, 'the cursor was given a table')
    return this.#reader
  }

  /** Moves to the first entry from a block on; a source for salvage passes over some. */
  #enterFrom(from: number): void {
    const { blockCount } = this.#table()
    for (let ordinal = from; ordinal < blockCount; ordinal++) {
      this.#enter(ordinal)
      if (this.#view.start === this.#view.end) continue
      this.#show(0)
      return
    }
  }

  /** Takes up a block. Until an entry is shown, also after BlockMiss, the cursor is not valid. */
  #enter(ordinal: number): void {
    const reader = this.#table()
    this.valid = false
    // The block is fetched again even if it is the one at hand: in a later slice its place may
    // hold another block.
    this.#ordinal = ordinal
    const view = this.#view
    const source = this.#source
    source.fetches++
    source.fetch(reader, ordinal, view)
    if (view.start !== view.end) this.#block.open(view.bytes, view.start, view.end)
  }

  #show(index: number): void {
    this.#index = index
    this.#block.show(index, this)
    this.valid = true
  }
}
