// Goal: the comparison behind `npm run test:real` passes what is equal and sees every difference.
// Method: a store in memory that holds the records, then with one lost, changed, added; an export
// file likewise, also out of order and with a record twice.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { MemoryStore } from '../support/memory-store.ts'
import { checkExport, checkReads, checkScan, DifferenceError } from '../support/real-check.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const NAMES = ['a', 'a/b', 'b', 'zürich', '日本']
const RECORDS = new Map(NAMES.map(name => [latin1(name), latin1(`https://example.org/${name}`)]))

function latin1(text: string): string {
  return Buffer.from(text).toString('latin1')
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

function storeOf(records: ReadonlyMap<string, string>): MemoryStore {
  const store = new MemoryStore()
  for (const [key, value] of records) store.set(bytes(key), bytes(value))
  return store
}

const CHANGES: readonly (readonly [string, (records: Map<string, string>) => void])[] = [
  ['lost', records => records.delete('b')],
  ['changed', records => records.set('a/b', 'https://example.org/a/c')],
  ['emptied', records => records.set('b', '')],
]

describe('the comparison with what was loaded', () => {
  test('passes what is equal', async t => {
    const store = storeOf(RECORDS)
    const seen: number[] = []
    assert.equal(await checkReads(store, RECORDS, count => seen.push(count)), RECORDS.size)
    assert.equal(await checkScan(store, RECORDS, false, count => seen.push(count)), RECORDS.size)
    assert.equal(await checkScan(store, RECORDS, true, count => seen.push(count)), RECORDS.size)
    assert.deepEqual(seen, [5, 5, 5])
    assert.equal(await checkExport(exported(t, lines()), RECORDS), RECORDS.size)
  })

  for (const [what, change] of CHANGES) {
    test(`sees that a record was ${what}`, async t => {
      const records = new Map(RECORDS)
      change(records)
      const store = storeOf(records)
      const ignore = () => undefined
      await assert.rejects(checkReads(store, RECORDS, ignore), DifferenceError)
      await assert.rejects(checkScan(store, RECORDS, false, ignore), DifferenceError)
      await assert.rejects(checkScan(store, RECORDS, true, ignore), DifferenceError)
      await assert.rejects(checkExport(exported(t, lines(records)), RECORDS), DifferenceError)
    })
  }

  test('sees that a record was added', async t => {
    const records = new Map([...RECORDS, ['c', 'nobody loaded this']])
    await assert.rejects(
      checkScan(storeOf(records), RECORDS, false, () => undefined),
      DifferenceError,
    )
    await assert.rejects(checkExport(exported(t, lines(records)), RECORDS), DifferenceError)
  })

  test('sees an export out of order, and a record that is there twice', async t => {
    for (const wrong of [lines().toReversed(), [lines()[0]!, ...lines()]]) {
      await assert.rejects(checkExport(exported(t, wrong), RECORDS), DifferenceError)
    }
  })
})

function lines(records: ReadonlyMap<string, string> = RECORDS): string[] {
  return [...records]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) =>
      JSON.stringify({ key: bytes(key).toString(), value: bytes(value).toString() }),
    )
}

function exported(t: Parameters<typeof temporaryDirectory>[0], content: readonly string[]): string {
  const path = join(temporaryDirectory(t), 'export.jsonl')
  writeFileSync(path, `${content.join('\n')}\n`)
  return path
}
