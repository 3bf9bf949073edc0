/**
 * Large blocks that the block cache does not take, for the reads that need them. A merge of many
 * runs needs one of each at the same time, and a read that comes again for the next entry needs
 * the one that it had.
 *
 * Invariants:
 *  1. A block that a read holds stays until the read lets go of it: it gets on however many it
 *     needs, and loads each of them once.
 *  2. Those that nobody holds take no more than the bytes that are allowed for them, but for the
 *     one that came last, which stays until something else is read from the disk.
 *  3. `bytes` is what all of them take, those included that are being loaded, and whoever shares
 *     the memory out is told of each change.
 */
import type { SstableReader } from './sstable-reader.ts'

export interface LargeBlock {
  readonly reader: SstableReader
  readonly ordinal: number
  readonly bytes: Uint8Array
  /** How many reads hold it. Owned by LargeBlocks. */
  holders: number
  /** When it was last looked at, on the clock of LargeBlocks, which owns it. */
  lastUse: number
}

export class LargeBlocks {
  readonly #unheldBytesMax: number
  readonly #changed: () => void
  /** The latest use first. */
  readonly #blocks: LargeBlock[] = []
  #bytes = 0
  #loadingBytes = 0
  #clock = 0

  /** `changed` is called between slices (block-source.ts), when `bytes` is another than before. */
  constructor(unheldBytesMax: number, changed: () => void) {
    this.#unheldBytesMax = unheldBytesMax
    this.#changed = changed
  }

  /** Bytes of all that are kept or on their way. */
  get bytes(): number {
    return this.#bytes + this.#loadingBytes
  }

  /** So many bytes more are on their way, or fewer. Called between slices. */
  loading(bytes: number): void {
    this.#loadingBytes += bytes
    this.#changed()
  }

  /** Ticks with every use. */
  get now(): number {
    return this.#clock
  }

  find(reader: SstableReader, ordinal: number): Uint8Array | undefined {
    const blocks = this.#blocks
    for (let index = 0; index < blocks.length; index++) {
      const block = blocks[index]!
      if (block.reader !== reader || block.ordinal !== ordinal) continue
      block.lastUse = ++this.#clock
      if (index > 0) {
        blocks.splice(index, 1)
        blocks.unshift(block)
      }
      return block.bytes
    }
    return undefined
  }

  /** Keeps a block that was just loaded. */
  add(reader: SstableReader, ordinal: number, bytes: Uint8Array): LargeBlock {
    const block = { reader, ordinal, bytes, holders: 0, lastUse: ++this.#clock }
    this.#enter(block)
    this.#trim(1)
    return block
  }

  /** Something else was read from the disk. */
  passedOver(): void {
    if (this.#blocks.length > 0) this.#trim(0)
  }

  /** A table was closed: who still holds blocks of it lets go of them soon. */
  tableClosed(): void {
    if (this.#blocks.length > 0) this.#trim(1)
  }

  /** For a read that is about to wait. */
  hold(): LargeBlockHold {
    return new LargeBlockHold(this)
  }

  /** Called by LargeBlockHold. */
  retain(block: LargeBlock): void {
    block.holders++
    // It may have gone between its load and this call.
    if (!this.#blocks.includes(block)) this.#enter(block)
  }

  /** Called by LargeBlockHold. */
  release(block: LargeBlock): void {
    block.holders--
    if (block.holders === 0) this.#trim(1)
  }

  #enter(block: LargeBlock): void {
    this.#blocks.unshift(block)
    this.#bytes += block.bytes.length
    this.#changed()
  }

  /** Drops what nobody holds and is too much, or of a closed table; `spared` of the latest stay. */
  #trim(spared: number): void {
    const blocks = this.#blocks
    const before = this.#bytes
    let [unheldBytes, kept] = [0, 0]
    for (const block of blocks) {
      if (block.holders > 0) {
        blocks[kept++] = block
        continue
      }
      const { length } = block.bytes
      const isSpared = spared > 0 || unheldBytes + length <= this.#unheldBytesMax
      if (isSpared && !block.reader.closed) {
        spared--
        unheldBytes += length
        blocks[kept++] = block
      } else this.#bytes -= length
    }
    blocks.length = kept
    if (this.#bytes !== before) this.#changed()
  }
}

/** What one read holds. */
export class LargeBlockHold {
  readonly #blocks: LargeBlocks
  readonly #held = new Set<LargeBlock>()
  #sliceStart = 0

  constructor(blocks: LargeBlocks) {
    this.#blocks = blocks
  }

  /** A slice begins, which may look at some of them. */
  beginSlice(): void {
    this.#sliceStart = this.#blocks.now
  }

  /** The read has got on: what its last slice did not look at is behind it. */
  dropPassed(): void {
    for (const block of this.#held) {
      if (block.lastUse > this.#sliceStart) continue
      this.#held.delete(block)
      this.#blocks.release(block)
    }
  }

  /** Holds what a load brought, unless that is in the cache. */
  keep(block: LargeBlock | undefined): void {
    if (block === undefined || this.#held.has(block)) return
    this.#held.add(block)
    this.#blocks.retain(block)
  }

  [Symbol.dispose](): void {
    for (const block of this.#held) this.#blocks.release(block)
    this.#held.clear()
  }
}
