/**
 * A random program that uses an abstract-level database in every way its users do, and writes down
 * what it is told. From one seed it does the same to every database, so two databases that can be
 * exchanged for each other give the same transcript.
 */
import type { AbstractLevel } from 'abstract-level'
import { type Random, seededRandom } from '../../src/random.ts'

export type AnyLevel = AbstractLevel<string | Buffer | Uint8Array, string, string>

const SNAPSHOTS_MAX = 3
/** Empty, of zeros, prefixes of each other, of one to four bytes a character, long. */
const ODD_KEYS = ['', '\0', '\0\0', '\0a', 'a', 'aa', 'a\xff', 'é', '€', '😀', 'z'.repeat(300)]
const ENCODINGS = ['utf8', 'buffer', 'view', 'hex', 'base64'] as const
type Encoding = (typeof ENCODINGS)[number]

interface Range {
  gt?: string
  gte?: string
  lt?: string
  lte?: string
  reverse?: boolean
  limit?: number
}

type Snapshot = ReturnType<AnyLevel['snapshot']>

export class LevelProgram {
  /** What was done and what came of it, a line a step. */
  readonly transcript: string[] = []
  readonly #random: Random
  readonly #db: AnyLevel
  readonly #snapshots: Snapshot[] = []

  constructor(db: AnyLevel, seed: number) {
    this.#db = db
    this.#random = seededRandom(seed)
  }

  async run(steps: number): Promise<void> {
    await this.#putStaying()
    for (let step = 0; step < steps; step++) await this.#step()
    await this.#reopen()
    await this.#note('everything', () => this.#db.iterator().all())
    for (const snapshot of this.#snapshots.splice(0)) await snapshot.close()
    await this.#db.close()
  }

  async #step(): Promise<void> {
    const die = this.#random.below(100)
    if (die < 25) await this.#write()
    else if (die < 35) await this.#batch()
    else if (die < 55) await this.#pointReads()
    else if (die < 68) await this.#iterate()
    else if (die < 78) await this.#walk()
    else if (die < 84) await this.#clear()
    else if (die < 89) this.#snapshots.push(this.#db.snapshot())
    else if (die < 92) await this.#snapshots.shift()?.close()
    else if (die < 96) await this.#misuse()
    else if (die < 98) await this.#sublevel()
    else await this.#reopen()
    while (this.#snapshots.length > SNAPSHOTS_MAX) await this.#snapshots.shift()?.close()
  }

  /** classic-level 3.0.0 ends the process when an iterator over nothing seeks outside its range. */
  #putStaying(): Promise<void> {
    return this.#db.put('stays', 'here')
  }

  /** Runs a step and writes down its outcome. */
  async #note(what: string, step: () => unknown): Promise<void> {
    let outcome: string
    try {
      outcome = say(await step())
    } catch (error) {
      outcome = `${(error as Error).name} ${(error as { code?: string }).code}`
    }
    this.transcript.push(`${what} -> ${outcome}`)
  }

  #key(): string {
    const random = this.#random
    if (random.below(3) === 0) return ODD_KEYS[random.below(ODD_KEYS.length)]!
    return `key-${random.below(40)}`
  }

  #value(): string {
    return ['', 'é€😀', `${this.#random.below(1e6)}`][this.#random.below(3)]!
  }

  #encoding(): Encoding {
    return ENCODINGS[this.#random.below(ENCODINGS.length)]!
  }

  async #write(): Promise<void> {
    const key = this.#key()
    const sync: object = [{}, { sync: true }, { sync: false }][this.#random.below(3)]!
    if (this.#random.below(3) === 0) {
      await this.#note(`del ${say(key)}`, () => this.#db.del(key, sync))
      return
    }
    const valueEncoding = this.#encoding()
    const value = encoded(this.#value(), valueEncoding)
    const options = { ...sync, valueEncoding }
    await this.#note(`put ${say(key)} ${say(value)}`, () =>
      this.#db.put<string, Buffer | Uint8Array | string>(key, value, options),
    )
  }

  async #batch(): Promise<void> {
    const operations = Array.from({ length: this.#random.below(12) }, () => {
      const key = this.#key()
      if (this.#random.below(3) === 0) return { type: 'del' as const, key }
      return { type: 'put' as const, key, value: this.#value() }
    })
    if (this.#random.below(2) === 0) {
      await this.#note(`batch ${say(operations)}`, () => this.#db.batch(operations))
      return
    }
    const chained = this.#db.batch()
    for (const operation of operations) {
      if (operation.type === 'put') chained.put(operation.key, operation.value)
      else chained.del(operation.key)
    }
    await this.#note(`chained batch ${say(operations)}`, () => chained.write())
  }

  #maybeSnapshot(): { snapshot?: Snapshot } {
    const snapshot = this.#snapshots[this.#random.below(SNAPSHOTS_MAX * 2)]
    return snapshot === undefined ? {} : { snapshot }
  }

  async #pointReads(): Promise<void> {
    const db = this.#db
    const keys = Array.from({ length: this.#random.below(6) }, () => this.#key())
    const key = this.#key()
    const snapshot = this.#maybeSnapshot()
    const valueEncoding = this.#encoding()
    const options = { ...snapshot, valueEncoding }
    const bytes = { ...options, keyEncoding: 'buffer' as const }
    const name = `${say(key)} ${valueEncoding} ${say(Object.keys(snapshot))}`
    await this.#note(`get ${name}`, () => db.get(key, options))
    await this.#note(`get buffer ${name}`, () => db.get(Buffer.from(key), bytes))
    await this.#note(`getSync ${name}`, () => db.getSync(key, options))
    await this.#note(`has ${name}`, () => db.has(key, snapshot))
    await this.#note(`getMany ${say(keys)}`, () => db.getMany(keys, options))
    await this.#note(`hasMany ${say(keys)}`, () => db.hasMany(keys, snapshot))
  }

  #range(): Range {
    const random = this.#random
    const range: Range = {}
    for (const bound of ['gt', 'gte', 'lt', 'lte'] as const) {
      if (random.below(4) === 0) range[bound] = this.#key()
    }
    if (random.below(2) === 0) range.reverse = true
    if (random.below(4) === 0) range.limit = random.below(12) - 1
    return range
  }

  async #iterate(): Promise<void> {
    const db = this.#db
    const range = this.#range()
    const options = { ...range, ...this.#maybeSnapshot(), valueEncoding: this.#encoding() }
    const what = `${say(range)} ${options.valueEncoding}`
    await this.#note(`entries ${what}`, () => db.iterator(options).all())
    await this.#note(`keys ${what}`, () => db.keys({ ...options, keyEncoding: 'hex' }).all())
    await this.#note(`values ${what}`, async () => {
      const values: unknown[] = []
      for await (const value of db.values(options)) values.push(value)
      return values
    })
    await this.#note('no keys', () => db.iterator({ ...options, keys: false }).all())
    await this.#note('no values', () => db.iterator({ ...options, values: false }).all())
  }

  /** An iterator that is moved about, while the database is written to. */
  async #walk(): Promise<void> {
    const range = this.#range()
    const iterator = this.#db.iterator({ ...range, ...this.#maybeSnapshot() })
    this.transcript.push(`walk ${say(range)}`)
    for (let step = 0; step < 12; step++) {
      const die = this.#random.below(10)
      // classic-level 3.0.0 counts entries towards the limit that a seek makes it throw away.
      if (die < 3 && range.limit === undefined) {
        const target = this.#key()
        await this.#note(`seek ${say(target)}`, () => iterator.seek(target))
      } else if (die < 6) await this.#note('next', () => iterator.next())
      else if (die < 9) {
        const size = this.#random.below(10)
        await this.#note(`nextv ${size}`, () => iterator.nextv(size))
      } else await this.#write()
      await this.#note('count', () => iterator.count)
    }
    if (this.#random.below(2) === 0) await this.#note('all', () => iterator.all())
    await this.#note('close', () => iterator.close())
    await this.#note('next after close', () => iterator.next())
  }

  async #clear(): Promise<void> {
    const range = this.#range()
    const options = { ...range, ...this.#maybeSnapshot() }
    // classic-level 3.0.0 clears no empty key when it is the only one.
    await this.#db.del('')
    await this.#note(`clear ${say(options.snapshot !== undefined)} ${say(range)}`, () =>
      this.#db.clear(options),
    )
    await this.#putStaying()
  }

  async #misuse(): Promise<void> {
    const db = this.#db
    const nothing = null as unknown as string
    await this.#note('put null', () => db.put(nothing, 'value'))
    await this.#note('put key null', () => db.put('key', nothing))
    await this.#note('get undefined', () => db.get(undefined as unknown as string))
    await this.#note('batch of what', () =>
      db.batch([{ type: 'what' as 'put', key: 'k', value: 'v' }]),
    )
    await this.#note('json', () => db.get(this.#key(), { valueEncoding: 'json' }))
    const snapshot = db.snapshot()
    await snapshot.close()
    await this.#note('get from closed', () => db.get('key', { snapshot }))
    const controller = new AbortController()
    const iterator = db.iterator({ signal: controller.signal })
    controller.abort()
    await this.#note('next when aborted', () => iterator.next())
    await iterator.close()
  }

  async #sublevel(): Promise<void> {
    const db = this.#db
    const sublevel = db.sublevel<string, number>('sub', { valueEncoding: 'json' })
    const key = this.#key()
    await this.#note(`sublevel put ${say(key)}`, () => sublevel.put(key, this.#random.below(100)))
    await this.#note('sublevel get', () => sublevel.get(key))
    await this.#note('sublevel all', () => sublevel.iterator({ reverse: true }).all())
    const target = this.#key()
    const iterator = sublevel.keys()
    await this.#note(`sublevel seek ${say(target)}`, () => iterator.seek(target))
    await this.#note('sublevel next', () => iterator.next())
    await iterator.close()
    if (this.#random.below(4) === 0) await this.#note('sublevel clear', () => sublevel.clear())
    const operations = [{ type: 'put' as const, key: 'both', value: 'a' }]
    await this.#note('across', () =>
      db.batch([...operations, { ...operations[0]!, sublevel: db.sublevel('other') }]),
    )
  }

  async #reopen(): Promise<void> {
    const db = this.#db
    this.#snapshots.length = 0
    await this.#note('close', () => db.close())
    await this.#note('get when closed', () => db.get('key'))
    await this.#note('open when there', () => db.open({ errorIfExists: true }))
    await this.#note('open', () => db.open({ createIfMissing: false }))
    await this.#note('status', () => db.status)
  }
}

function encoded(text: string, encoding: Encoding): Buffer | Uint8Array | string {
  if (encoding === 'utf8') return text
  const bytes = Buffer.from(text)
  if (encoding === 'buffer') return bytes
  if (encoding === 'view') return new Uint8Array(bytes)
  return bytes.toString(encoding)
}

/** As text that tells strings from bytes; classic-level gives Buffers where views are asked for. */
function say(value: unknown): string {
  if (value === undefined) return 'undefined'
  if (value instanceof Uint8Array) return `bytes:${Buffer.from(value).toString('hex')}`
  if (Array.isArray(value)) return `[${value.map(say).join(', ')}]`
  return JSON.stringify(value)
}
