/**
 * The arguments of a command, the first of which is its name. Views of them are borrowed: the bytes
 * belong to the decoder until `detached` made a copy.
 */
import { latin1 } from './characters.ts'

/** What a decoder has at hand. */
export interface ArgumentSource {
  readonly bytes: Uint8Array
  readonly count: number
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly size: number
}

export class CommandArguments {
  readonly source: ArgumentSource

  constructor(source: ArgumentSource) {
    this.source = source
  }

  get count(): number {
    return this.source.count
  }

  /** Bytes of the whole command as it came. */
  get size(): number {
    return this.source.size
  }

  /** Argument `index`, borrowed. */
  at(index: number): Uint8Array {
    const { bytes, starts, ends } = this.source
    return bytes.subarray(starts[index]!, ends[index]!)
  }

  sizeAt(index: number): number {
    return this.source.ends[index]! - this.source.starts[index]!
  }

  /** One character a byte. */
  text(index: number): string {
    const { bytes, starts, ends } = this.source
    return latin1(bytes, starts[index]!, ends[index]!)
  }

  /** The same in capitals, as options are compared. */
  word(index: number): string {
    return this.text(index).toUpperCase()
  }

  /** Arguments from `first` on, every `step`th, borrowed. */
  list(first: number, step = 1, end = this.count): Uint8Array[] {
    const list: Uint8Array[] = []
    for (let index = first; index < end; index += step) list.push(this.at(index))
    return list
  }

  /** The same arguments in memory of their own. */
  detached(): CommandArguments {
    const { bytes, starts, ends, count, size } = this.source
    let start = Number.POSITIVE_INFINITY
    let end = 0
    for (let index = 0; index < count; index++) {
      start = Math.min(start, starts[index]!)
      end = Math.max(end, ends[index]!)
    }
    const own = bytes.slice(start, end)
    const ownStarts = new Int32Array(count)
    const ownEnds = new Int32Array(count)
    for (let index = 0; index < count; index++) {
      ownStarts[index] = starts[index]! - start
      ownEnds[index] = ends[index]! - start
    }
    return new CommandArguments({ bytes: own, count, starts: ownStarts, ends: ownEnds, size })
  }

  /** A command that begins at argument `first` of this one, in the same memory. */
  from(first: number): CommandArguments {
    const { bytes, starts, ends, count, size } = this.source
    return new CommandArguments({
      bytes,
      count: count - first,
      starts: starts.subarray(first),
      ends: ends.subarray(first),
      size,
    })
  }
}
