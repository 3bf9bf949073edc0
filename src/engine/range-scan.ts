/**
 * A scan over the engine that can be moved: what entries(), keys() and values() of an embedded
 * database give.
 */
import { boundBytes } from '../arguments.ts'
import type { BytesInput, Scan } from '../key-value-store.ts'
import { PagedScan } from '../paged-scan.ts'
import type { RangePages } from './range-pages.ts'

/** A scan that can go on elsewhere, in the same state of the store. */
export interface SeekableScan<T> extends Scan<T> {
  /**
   * Goes on at `target`: the next item is that of the smallest key at or after it, in reverse of
   * the largest key at or before it, always within the range of the scan. May go forward and back,
   * and, once it was called, also after the end; what was delivered counts towards the limit.
   *
   * Costs nothing by itself: the next read seeks. Once it was called, a scan that is not looped
   * over stays open at its end, and must be closed. Throws ClosedError after close(), and
   * InvalidArgumentError while a read is under way.
   */
  seek(target: BytesInput): void
}

export class RangeScan<T> extends PagedScan<T> implements SeekableScan<T> {
  readonly #pages: RangePages<T>

  constructor(pages: RangePages<T>, limit: number, signal?: AbortSignal) {
    super(pages, limit, signal)
    this.#pages = pages
  }

  seek(target: BytesInput): void {
    const bytes = boundBytes(target, 'target')
    this.restart()
    this.#pages.seek(bytes)
  }
}
