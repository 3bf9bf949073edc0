// Goal: whatever the input holds, however it comes in pieces, whatever the server answers, and
// wherever the import is stopped and gone on with, the store ends as the input says, bad records
// are handed over, and a mark never passes a record that is not accounted for.
// Method: random files of good, null, malformed and refused records in three formats, against what
// they were made of; the imports fail, are stopped and resumed from their marks at random, until
// one is complete. Then what cannot be left to chance, by hand.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CsvParser } from '../../src/cli/csv-parser.ts'
import type { ImportMark } from '../../src/cli/import-batch.ts'
import { Importer, type ImporterOptions } from '../../src/cli/importer.ts'
import { JsonParser } from '../../src/cli/json-parser.ts'
import { JsonlParser } from '../../src/cli/jsonl-parser.ts'
import type { ParserState, RecordParser } from '../../src/cli/record-format.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { IoError, UnavailableError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { FickleStore } from '../support/fickle-store.ts'
import { piecesSource } from '../support/pieces-source.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const START: ImportMark = { offset: 0, state: { line: 1 } }
/** More for a longer hunt. */
const SEED_COUNT = Number(process.env['DURAMEN_SEEDS'] ?? 50)
const PATIENCE_MS = 30_000

function setUp(changes: Partial<ImporterOptions> = {}) {
  const store = new FickleStore()
  const clock = new SimClock()
  const controller = new AbortController()
  const rejects: string[] = []
  const marks: ImportMark[] = []
  const importer = new Importer({
    store,
    write: { durability: 'sync' },
    ttlMs: undefined,
    parser: new JsonlParser(),
    input: piecesSource(Buffer.from('')),
    start: START,
    sourceName: 'x.jsonl',
    nullValue: undefined,
    onError: 'skip',
    onReject: ({ source }) => rejects.push(Buffer.from(source).toString('latin1')),
    flushRejects: () => Promise.resolve(),
    onAcknowledged: mark => marks.push(mark),
    onRetry: () => undefined,
    onSilence: () => undefined,
    whyAway: () => undefined,
    batchCountMax: 3,
    batchBytesMax: 200,
    windowCount: 3,
    patienceMs: PATIENCE_MS,
    clock,
    signal: controller.signal,
    ...changes,
  })
  return { importer, store, clock, controller, rejects, marks }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await yieldToEventLoop()
}

/** A file and what it says. */
interface Made {
  readonly content: Buffer
  readonly createParser: (state: ParserState) => RecordParser
  /** Key and value of the good records, the later of two with one key. */
  readonly store: ReadonlyMap<string, string>
  /** The good records in their order, and where they begin. */
  readonly good: readonly { readonly at: number; readonly key: string }[]
  /** The bad ones, as they stand in the file. */
  readonly bad: readonly string[]
  readonly nulls: number
}

const FORMATS = ['jsonl', 'csv', 'json'] as const

function makeFile(random: Random): Made {
  const format = FORMATS[random.below(FORMATS.length)]!
  const store = new Map<string, string>()
  const good: { at: number; key: string }[] = []
  const bad: string[] = []
  let nulls = 0
  const head = { jsonl: '', csv: 'value,key\n', json: '{' }[format]
  let text = (random.below(3) === 0 ? '\xef\xbb\xbf' : '') + head
  for (let index = 0; index < random.below(60); index++) {
    const key = `k${random.below(40)}`
    const value = `${index}${'v'.repeat(random.below(random.below(8) === 0 ? 300 : 20))}\xe9\n"`
    const inJson = Buffer.from(JSON.stringify(value)).toString('latin1')
    const inCsv = `"${value.replaceAll('"', '""')}"`
    const stored = format === 'csv' ? value : Buffer.from(value).toString('latin1')
    const gap = format === 'json' ? (index > 0 ? ',\n' : '') : random.below(6) === 0 ? '\n' : ''
    text += gap
    const record = (name: string): string => {
      if (format === 'jsonl') return `{"key":"${name}","value":${inJson}}\n`
      return format === 'csv' ? `${inCsv},${name}\n` : `"${name}":${inJson}`
    }
    const kind = random.below(8)
    if (kind === 0) {
      bad.push(record(`${key}!`))
      text += bad.at(-1)
    } else if (kind === 1) {
      bad.push(format === 'json' ? record('') : 'nonsense\n')
      text += bad.at(-1)
    } else if (kind === 2 && format !== 'csv') {
      nulls++
      text += format === 'json' ? `"${key}":null` : `{"key":"${key}","value":null}\n`
    } else {
      good.push({ at: text.length, key })
      store.set(key, stored)
      text += record(key)
    }
  }
  if (format === 'json') text += '}\n'
  const createParser = (state: ParserState): RecordParser => {
    if (format === 'csv') return new CsvParser({ delimiter: 0x2c, state })
    return format === 'json' ? new JsonParser({ state }) : new JsonlParser({ state })
  }
  return { content: Buffer.from(text, 'latin1'), createParser, store, good, bad, nulls }
}

function cutsOf(random: Random, size: number): number[] {
  return Array.from({ length: random.below(20) }, () => random.below(size + 1))
}

/** Imports the file, stopping and going on again at random, until it is complete. */
async function importInPieces(
  made: Made,
  random: Random,
): Promise<{ rejects: string[]; runs: number }> {
  const { content, createParser } = made
  const store = new FickleStore()
  const flushed: string[] = []
  let unflushed: string[] = []
  let start = START
  let nulls = 0
  for (let runs = 1; ; runs++) {
    const clock = new SimClock()
    const controller = new AbortController()
    const troubled = runs < 6
    const failure = { at: random.below(content.length + 1), error: new IoError('the input broke') }
    const breaks = troubled && random.below(4) === 0 && failure.at >= start.offset
    const cuts = cutsOf(random, content.length)
    const { importer } = setUp({
      store,
      clock,
      signal: controller.signal,
      parser: createParser(start.state),
      start,
      input: piecesSource(content, {
        offset: start.offset,
        cuts,
        pace: yieldToEventLoop,
        ...(breaks ? { failure } : {}),
      }),
      onReject: ({ source }) => unflushed.push(Buffer.from(source).toString('latin1')),
      flushRejects: async () => {
        const parts = unflushed
        await yieldToEventLoop()
        flushed.push(...parts)
        unflushed = unflushed.slice(parts.length)
      },
      onAcknowledged: mark => {
        for (const { at, key } of made.good) {
          if (at >= mark.offset) break
          assert.ok(store.data.has(key), `the mark ${mark.offset} passed what is not stored`)
        }
        for (const bad of made.bad) {
          if (content.indexOf(bad, 0, 'latin1') >= mark.offset) break
          assert.ok(flushed.includes(bad), `the mark ${mark.offset} passed what is not kept`)
        }
      },
    })
    const work = importer.run()
    let settled = false
    work.then(
      () => (settled = true),
      () => (settled = true),
    )
    const stopAt = troubled ? random.below(60) : Number.POSITIVE_INFINITY
    const end = (['stop', 'disk', 'away'] as const)[random.below(3)]!
    for (let step = 0; !settled; step++) {
      assert.ok(step < 20_000, 'it comes to an end')
      await yieldToEventLoop()
      const [batch] = store.pending
      if (step >= stopAt && end === 'away') {
        if (batch !== undefined) store.fail(batch, new UnavailableError('gone'), false)
        clock.advance(1000)
      } else if (step === stopAt && end === 'stop') controller.abort()
      else if (step === stopAt && batch !== undefined) {
        store.fail(batch, new IoError('the disk'), random.below(2) === 0)
      } else if (random.below(3) > 0) store.answerAnyhow(random)
      else clock.advance(random.below(100))
    }
    const complete = await work.catch((error: unknown) => {
      assert.ok(error instanceof IoError || error instanceof UnavailableError, String(error))
      return false
    })
    assert.equal(store.pending.length, 0, 'nothing is on its way any more')
    nulls += importer.counts.nulls
    if (complete) {
      assert.equal(nulls, made.nulls, 'each null is counted in the run that passed it')
      assert.deepEqual(store.data, made.store)
      return { rejects: flushed, runs }
    }
    start = JSON.parse(JSON.stringify(importer.mark)) as ImportMark
  }
}

describe('any file, any server, any stop', () => {
  test('the store ends as the file says, and no bad record is lost', async t => {
    const first = printSeed(t)
    let runs = 0
    for (let seed = first; seed < first + SEED_COUNT; seed++) {
      const random = seededRandom(seed)
      const made = makeFile(random)
      try {
        const done = await importInPieces(made, random)
        runs += done.runs
        assert.deepEqual(new Set(done.rejects), new Set(made.bad))
      } catch (error) {
        t.diagnostic(`replay with DURAMEN_SEED=${seed}`)
        t.diagnostic(JSON.stringify(made.content.toString('latin1')))
        throw error
      }
    }
    assert.ok(runs > SEED_COUNT * 1.5, 'imports were resumed')
  })
})

/** JSON lines of keys with empty values; a key that begins with '-' makes a line that is none. */
function lines(...keys: readonly string[]): Buffer {
  const line = (key: string): string => {
    return key.startsWith('-') ? `${key}\n` : `{"key":"${key}","value":""}\n`
  }
  return Buffer.from(keys.map(line).join(''))
}

/** Lets the first piece of an input pass and none behind it. */
function onePiece(): () => Promise<void> {
  let pieces = 0
  return () => (pieces++ === 0 ? Promise.resolve() : new Promise(() => undefined))
}

const keysOf = (store: FickleStore): string[] => [...store.data.keys()]

describe('what ends an import', () => {
  test('a bad record, with stop: what stands before it is stored, nothing behind it', async () => {
    const input = piecesSource(lines('a', 'b', 'c', 'd', '-', 'e'))
    const { importer, store, rejects } = setUp({ input, onError: 'stop' })
    store.answerAlways()
    await assert.rejects(importer.run(), { name: 'BadInputError', message: /^x\.jsonl, line 5 / })
    assert.deepEqual(keysOf(store), ['a', 'b', 'c', 'd'])
    assert.deepEqual(rejects, [])
    assert.equal(importer.mark.offset, lines('a', 'b', 'c', 'd').length)
    assert.deepEqual(importer.counts, { records: 4, bytes: 4, nulls: 0, rejected: 0 })
  })

  test('a record that the server refuses, with stop, counts as nothing', async () => {
    const input = piecesSource(lines('a', 'b!', 'c', 'd'))
    const { importer, store } = setUp({ input, onError: 'stop' })
    store.answerAlways()
    await assert.rejects(importer.run(), { name: 'BadInputError', message: /line 2 .*refused/ })
    assert.deepEqual(importer.counts, { records: 0, bytes: 0, nulls: 0, rejected: 0 })
    assert.deepEqual(importer.mark, START)
  })

  test('the first of two problems is told, whoever finds it', async () => {
    const input = piecesSource(lines('a', 'b!', 'c', 'd', '-'))
    const { importer, store } = setUp({ input, onError: 'stop' })
    const run = importer.run()
    run.catch(() => undefined)
    await settle()
    store.answerAlways()
    await assert.rejects(run, { message: /^x\.jsonl, line 2 / })
  })

  test('an input that breaks: what was whole before is stored', async () => {
    const content = lines('a', 'b', 'c', 'd', 'e')
    const failure = { at: content.length - 3, error: new IoError('the gzip data ends too early') }
    const { importer, store } = setUp({ input: piecesSource(content, { failure }) })
    store.answerAlways()
    await assert.rejects(importer.run(), failure.error)
    assert.deepEqual(keysOf(store), ['a', 'b', 'c', 'd'])
    assert.equal(importer.mark.offset, lines('a', 'b', 'c', 'd').length)
  })

  test('rejects that cannot be kept: the mark does not pass them', async () => {
    const full = new IoError('no space is left on the device')
    const input = piecesSource(lines('a', '-', 'b', 'c', 'd'))
    const { importer, store } = setUp({ input, flushRejects: () => Promise.reject(full) })
    store.answerAlways()
    await assert.rejects(importer.run(), full)
    assert.deepEqual(importer.mark, START)
  })

  test('a server that fails for good, while the input waits', async () => {
    const cuts = [lines('a').length]
    const input = piecesSource(lines('a', 'b'), { cuts, pace: onePiece() })
    const { importer, store } = setUp({ input })
    const disk = new IoError('the disk')
    const run = importer.run()
    run.catch(() => undefined)
    await settle()
    store.fail(store.pending[0]!, disk, false)
    await assert.rejects(run, disk)
  })

  test('a stop: the read ends, answers under way still count', async () => {
    const cuts = [lines('a', 'b').length]
    const input = piecesSource(lines('a', 'b', 'c', 'd'), { cuts, pace: onePiece() })
    const { importer, store, controller } = setUp({ input })
    const run = importer.run()
    await settle()
    controller.abort()
    await settle()
    store.answer(store.pending[0]!)
    assert.equal(await run, false)
    assert.equal(importer.mark.offset, cuts[0])
  })

  test('a stop before it began', async () => {
    const { importer, controller } = setUp({ input: piecesSource(lines('a')) })
    controller.abort()
    assert.equal(await importer.run(), false)
    assert.deepEqual(importer.mark, START)
  })
})

describe('a slow input', () => {
  test('need not fill a batch: what came is sent as soon as nothing is on its way', async () => {
    const goOn: (() => void)[] = []
    const pace = (): Promise<void> => new Promise(resolve => goOn.push(resolve))
    const cuts = [lines('a').length, lines('a', 'b').length]
    const input = piecesSource(lines('a', 'b', 'c'), { cuts, pace })
    const { importer, store, marks } = setUp({ input })
    const run = importer.run()
    await settle()
    goOn.shift()!()
    await settle()
    assert.equal(store.pending.length, 1, 'the first is sent')
    goOn.shift()!()
    await settle()
    assert.equal(store.pending.length, 1, 'the second waits for the answer')
    store.answerAlways()
    await settle()
    assert.deepEqual(keysOf(store), ['a', 'b'])
    assert.deepEqual(marks.at(-1)?.offset, cuts[1])
    goOn.shift()!()
    assert.equal(await run, true)
  })

  test('a failed batch is tried again without further input', async () => {
    const cuts = [lines('a').length]
    const input = piecesSource(lines('a', 'b'), { cuts, pace: onePiece() })
    const { importer, store, clock, controller } = setUp({ input })
    const run = importer.run()
    await settle()
    store.fail(store.pending[0]!, new UnavailableError('gone'), false)
    await settle()
    store.answerAlways()
    await clock.advanceAsync(100)
    assert.deepEqual(keysOf(store), ['a'])
    controller.abort()
    assert.equal(await run, false)
  })
})

describe('the beginning of an input', () => {
  test('a byte order mark is passed over, and counts as bytes', async () => {
    const content = Buffer.concat([Buffer.from('\ufeff'), lines('a', '-')])
    for (let cut = 0; cut < 5; cut++) {
      const input = piecesSource(content, { cuts: [1, 2, 3, 4].slice(0, cut) })
      const offsets: number[] = []
      const { importer, store } = setUp({ input, onReject: ({ offset }) => offsets.push(offset) })
      store.answerAlways()
      assert.equal(await importer.run(), true)
      assert.deepEqual(keysOf(store), ['a'])
      assert.deepEqual(offsets, [3 + lines('a').length])
      assert.equal(importer.mark.offset, content.length)
    }
  })

  test('one further on belongs to the data', async () => {
    const content = Buffer.from('a\t1\n\ufeffb\t2\n')
    const parser = new CsvParser({ delimiter: 9, header: false })
    const { importer, store } = setUp({ input: piecesSource(content, { cuts: [4] }), parser })
    store.answerAlways()
    await importer.run()
    assert.deepEqual(keysOf(store), ['a', '\xef\xbb\xbfb'])
  })

  for (const size of [0, 1, 2]) {
    test(`an input of ${size} bytes`, async () => {
      const { importer, store } = setUp({ input: piecesSource(Buffer.alloc(size, '\n')) })
      store.answerAlways()
      assert.equal(await importer.run(), true)
      assert.equal(importer.mark.offset, size)
      assert.equal(store.attempts, 0)
    })
  }
})

test('a record of many pieces is parsed a few times, not once a piece', async () => {
  const size = 4 * 1024 * 1024
  const content = Buffer.from(`{"key":"a","value":"${'x'.repeat(size)}"}\n`)
  const cuts = Array.from({ length: size / 4096 }, (_, index) => index * 4096)
  const inner = new JsonlParser()
  let parses = 0
  const parser: RecordParser = {
    parse(slab, final, sink) {
      parses++
      return inner.parse(slab, final, sink)
    },
    get line() {
      return inner.line
    },
    state: () => inner.state(),
  }
  const { importer, store } = setUp({ input: piecesSource(content, { cuts }), parser })
  store.answerAlways()
  assert.equal(await importer.run(), true)
  assert.ok(parses < 40, `parsed ${parses} times`)
  assert.equal(store.data.get('a')?.length, size)
})
