/**
 * The records of scale.ts: numbered ones with random keys, or those of a file. Either gives the
 * same batches each time, and a sample to read back.
 */
import { readRecords } from '../import/records.ts'
import { chooseKeys, keyChooser } from '../key-chooser.ts'
import { Dataset, KEY_SIZE, range } from '../workloads.ts'

const BATCH_SIZE = 1000
/** Keys read at random: more than fit the cache of blocks, few enough to be held here. */
const SAMPLE_SIZE = 100_000
const STRIDE = 7919
const PACKED_SIZE_START = 1024 * 1024

export interface Records {
  readonly keys: readonly Buffer[]
  readonly values: readonly Buffer[]
}

/** Records by number. What it returns is borrowed until the next call. */
export interface Sample {
  readonly count: number
  key(at: number): Buffer
  value(at: number): Buffer
}

export interface RecordSource {
  batches(): Iterable<Records>
  /** Records evenly spread over all of them, in random order. */
  sample(): Sample
}

export interface SourceArgument {
  readonly keyCount: number
  readonly valueSize: number
  readonly seed: number
  /** JSON lines of {"key", "value"}; the other fields are not used then. */
  readonly file: string | undefined
}

export function openSource(argument: SourceArgument): RecordSource {
  return argument.file === undefined
    ? new NumberedSource(argument)
    : new FileSource(argument.file, argument.keyCount)
}

class NumberedSource implements RecordSource {
  readonly #dataset: Dataset

  constructor(argument: SourceArgument) {
    this.#dataset = new Dataset(argument)
  }

  *batches(): Iterable<Records> {
    const { keyCount } = this.#dataset
    for (let start = 0; start < keyCount; start += BATCH_SIZE) {
      yield this.#records(range(start, Math.min(start + BATCH_SIZE, keyCount)))
    }
  }

  sample(): Sample {
    const dataset = this.#dataset
    const { keyCount, seed } = dataset
    const chosen = Uint32Array.from(chooseKeys(keyChooser('uniform', keyCount, seed), SAMPLE_SIZE))
    const key = Buffer.alloc(KEY_SIZE)
    return {
      count: chosen.length,
      key(at) {
        dataset.writeKey(chosen[at] ?? 0, key)
        return key
      },
      value: at => dataset.value(chosen[at] ?? 0),
    }
  }

  #records(indices: ArrayLike<number>): Records {
    return { keys: this.#dataset.keys(indices), values: this.#dataset.values(indices) }
  }
}

class FileSource implements RecordSource {
  readonly #path: string
  readonly #count: number

  constructor(path: string, count: number) {
    this.#path = path
    this.#count = count
  }

  *batches(): Iterable<Records> {
    let keys: Buffer[] = []
    let values: Buffer[] = []
    for (const { key, value } of readRecords(this.#path)) {
      keys.push(Buffer.from(key))
      values.push(Buffer.from(value))
      if (keys.length < BATCH_SIZE) continue
      yield { keys, values }
      keys = []
      values = []
    }
    if (keys.length > 0) yield { keys, values }
  }

  sample(): Sample {
    const every = Math.max(1, Math.floor(this.#count / SAMPLE_SIZE))
    const packed = new PackedRecords()
    let number = 0
    for (const { key, value } of readRecords(this.#path)) {
      if (number++ % every === 0) packed.add(key, value)
    }
    const { count } = packed
    // A stride coprime to the length visits each once, far from the one before.
    const place = (at: number) => (at * STRIDE) % count
    return { count, key: at => packed.key(place(at)), value: at => packed.value(place(at)) }
  }
}

/** Records in one buffer: as objects they would be a large part of what is measured. */
class PackedRecords {
  #bytes = Buffer.alloc(PACKED_SIZE_START)
  readonly #ends: number[] = [0]

  get count(): number {
    return (this.#ends.length - 1) / 2
  }

  add(key: string, value: string): void {
    this.#append(key)
    this.#append(value)
  }

  key(at: number): Buffer {
    return this.#bytes.subarray(this.#ends[2 * at], this.#ends[2 * at + 1])
  }

  value(at: number): Buffer {
    return this.#bytes.subarray(this.#ends[2 * at + 1], this.#ends[2 * at + 2])
  }

  #append(text: string): void {
    const start = this.#ends.at(-1) ?? 0
    const end = start + Buffer.byteLength(text)
    if (end > this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes], end * 2)
    this.#bytes.write(text, start)
    this.#ends.push(end)
  }
}
