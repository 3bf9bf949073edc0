/**
 * The records of scale.ts: numbered ones with random keys, or those of a file. Either gives the
 * same batches each time, and a sample to read back.
 */
import { readRecords } from '../import/records.ts'
import { chooseKeys, keyChooser } from '../key-chooser.ts'
import { Dataset, range } from '../workloads.ts'

const BATCH_SIZE = 1000
/** Keys read at random: more than fit the cache of blocks, few enough to be held here. */
const SAMPLE_SIZE = 100_000

export interface Records {
  readonly keys: readonly Buffer[]
  readonly values: readonly Buffer[]
}

export interface RecordSource {
  batches(): Iterable<Records>
  /** Records evenly spread over all of them, in random order. */
  sample(): Records
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

  sample(): Records {
    const { keyCount, seed } = this.#dataset
    return this.#records(chooseKeys(keyChooser('uniform', keyCount, seed), SAMPLE_SIZE))
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

  sample(): Records {
    const every = Math.max(1, Math.floor(this.#count / SAMPLE_SIZE))
    const keys: Buffer[] = []
    const values: Buffer[] = []
    let number = 0
    for (const { key, value } of readRecords(this.#path)) {
      if (number++ % every !== 0) continue
      keys.push(Buffer.from(key))
      values.push(Buffer.from(value))
    }
    // A stride coprime to the length visits each once, far from the one before.
    const order = keys.map((_, at) => (at * 7919) % keys.length)
    return { keys: order.map(at => keys[at]!), values: order.map(at => values[at]!) }
  }
}
