// Goal: batches keep their limits, marks pass nothing that is not accounted for, and bad records
// are told with their place and bytes, or stop the parsing.
// Method: records of chosen sizes through a parser; each mark is parsed on from and must bring the
// rest. (importer.test.ts does it with random input.)
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BadInputError } from '../../src/cli/bad-input-error.ts'
import type { ImportBatch } from '../../src/cli/import-batch.ts'
import { JsonlParser } from '../../src/cli/jsonl-parser.ts'
import {
  RecordBatcher,
  type RecordBatcherOptions,
  type Reject,
} from '../../src/cli/record-batcher.ts'
import { InvalidArgumentError } from '../../src/errors.ts'
import { KEY_SIZE_MAX, VALUE_SIZE_MAX } from '../../src/key-value-store.ts'
import { seededRandom } from '../../src/random.ts'

function create(changes: Partial<RecordBatcherOptions> = {}) {
  const rejects: Reject[] = []
  const batcher = new RecordBatcher({
    parser: new JsonlParser(),
    start: { offset: 0, state: { line: 1 } },
    sourceName: 'x.jsonl',
    ttlMs: undefined,
    nullValue: undefined,
    onError: 'skip',
    onReject: reject => rejects.push(reject),
    batchCountMax: 3,
    batchBytesMax: 100,
    ...changes,
  })
  return { batcher, rejects }
}

const line = (key: string, value: unknown): string => `${JSON.stringify({ key, value })}\n`

function keysOf(batches: readonly ImportBatch[]): string[][] {
  return batches.map(({ operations }) => operations.map(({ key }) => Buffer.from(key).toString()))
}

describe('batches', () => {
  test('hold so many records, so many bytes, or one record that is longer', () => {
    const random = seededRandom(3)
    const sizes = Array.from({ length: 200 }, () => random.below(random.below(10) === 0 ? 200 : 40))
    const lines = sizes.map((size, index) => line(`k${index}`, 'x'.repeat(size)))
    const { batcher } = create()
    batcher.parse(Buffer.from(lines.join('')), 0, true)
    const batches = batcher.takeAll()
    assert.equal(batcher.pendingCount, 0)
    assert.deepEqual(
      keysOf(batches).flat(),
      sizes.map((_, index) => `k${index}`),
    )
    let before = 0
    for (const { operations, sizeBytes, mark, lines: numbers, offsets } of batches) {
      assert.ok(operations.length <= 3 && operations.length > 0)
      assert.ok(sizeBytes <= 100 || operations.length === 1)
      const sum = operations.reduce((total, put) => total + put.key.length + put.value.length, 0)
      assert.equal(sizeBytes, sum)
      assert.deepEqual(
        numbers,
        operations.map((_, index) => before + index + 1),
      )
      const ends = (count: number): number => lines.slice(0, count).join('').length
      assert.deepEqual(
        offsets,
        operations.map((_, index) => ends(before + index)),
      )
      before += operations.length
      assert.deepEqual(mark, { offset: ends(before), state: { line: before + 1 } })
    }
  })

  test('full ones can be taken while the last one fills', () => {
    const { batcher } = create()
    const text = ['a', 'b', 'c', 'd'].map(key => line(key, '')).join('')
    assert.equal(batcher.parse(Buffer.from(text), 0, false), text.length)
    assert.deepEqual(keysOf(batcher.takeFull()), [['a', 'b', 'c']])
    assert.deepEqual(keysOf(batcher.takeFull()), [])
    assert.equal(batcher.pendingCount, 1)
    assert.deepEqual(keysOf(batcher.takeAll()), [['d']])
  })

  test('carry the time to live', () => {
    const { batcher } = create({ ttlMs: 1500 })
    batcher.parse(Buffer.from(line('a', '')), 0, true)
    assert.equal(batcher.takeAll()[0]?.operations[0]?.ttlMs, 1500)
  })
})

describe('records that are left out', () => {
  test('nulls are counted, or stored as something', () => {
    const text = Buffer.from(line('a', null) + line('b', 1) + line('c', null))
    const without = create()
    without.batcher.parse(text, 0, true)
    assert.deepEqual(keysOf(without.batcher.takeAll()), [['b']])
    assert.equal(without.batcher.nulls, 2)
    assert.equal(without.batcher.endMark.offset, text.length)
    const as = create({ nullValue: Buffer.from('-') })
    as.batcher.parse(text, 0, true)
    const [batch] = as.batcher.takeAll()
    assert.deepEqual(
      batch?.operations.map(({ value }) => String(value)),
      ['-', '1', '-'],
    )
    assert.equal(as.batcher.nulls, 0)
  })

  test('bad ones are handed over as they stood', () => {
    const bad = ['nonsense\n', line('', 'v'), line('k'.repeat(KEY_SIZE_MAX + 1), '')]
    const { batcher, rejects } = create()
    const text = `${line('a', '')}${bad.join('')}${line('b', '')}`
    batcher.parse(Buffer.from(text), 1000, true)
    assert.deepEqual(
      rejects.map(({ source }) => Buffer.from(source).toString()),
      bad,
    )
    assert.deepEqual(
      rejects.map(reject => reject.line),
      [2, 3, 4],
    )
    assert.equal(rejects[0]?.offset, 1000 + line('a', '').length)
    assert.match(rejects[0]?.problem ?? '', /^expected an object/)
    assert.equal(rejects[1]?.problem, 'the key is empty')
    assert.equal(rejects[2]?.problem, 'the key has 65536 bytes, more than 65533')
    assert.equal(batcher.rejected, 3)
    assert.deepEqual(keysOf(batcher.takeAll()), [['a', 'b']])
  })

  test('a value may be this long and no longer', () => {
    const { batcher, rejects } = create()
    const sink = new Uint8Array(VALUE_SIZE_MAX + 1)
    batcher.record(Buffer.from('a'), sink.subarray(1), 0, 0, 1)
    batcher.record(Buffer.from('b'), sink, 0, 0, 1)
    assert.deepEqual(keysOf(batcher.takeAll()), [['a']])
    assert.match(rejects[0]?.problem ?? '', /^the value has 67108865 bytes/)
  })

  test('one that the server refuses is handed over as it stood, too', () => {
    const { batcher, rejects } = create()
    batcher.parse(Buffer.from(line('a', '') + line('b', '')), 0, true)
    const [batch] = batcher.takeAll()
    batcher.refused(batch!, 1, new InvalidArgumentError('not that key'))
    const source = Buffer.from(line('b', ''))
    const offset = line('a', '').length
    assert.deepEqual(rejects, [{ line: 2, offset, problem: 'not that key', source }])
  })
})

describe('with stop', () => {
  test('the first bad record ends it, and what came before is in the batches', () => {
    const { batcher } = create({ onError: 'stop' })
    const text = `${line('a', '')}${line('b', '')}\nnonsense\n${line('c', '')}`
    const place = { offset: line('a', '').length * 2 + 1, line: 4 }
    assert.throws(
      () => batcher.parse(Buffer.from(text), 0, true),
      (error: unknown) => {
        assert.ok(error instanceof BadInputError)
        assert.deepEqual(error.place, place)
        assert.match(error.message, /^x\.jsonl, line 4 \(byte 47\): expected an object/)
        assert.match(error.advice, /--on-error skip/)
        return true
      },
    )
    assert.deepEqual(keysOf(batcher.takeAll()), [['a', 'b']])
    assert.deepEqual(batcher.endMark, { offset: place.offset - 1, state: { line: 3 } })
  })

  test('no more memory is kept than the records take', () => {
    const { batcher } = create({ onError: 'stop' })
    batcher.parse(Buffer.from(line('a', '')), 0, true)
    assert.equal(batcher.takeAll()[0]?.sources, undefined)
  })
})
