// Goal: an unordered scan delivers exactly the live entries of its range, once each, also when it
// is resumed from the cursor of any page on a restarted node.
// Method: random contents, ranges, directions and page sizes against a filter; then a new scan for
// every page; then cursors that are not ours.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes, utf8Encode } from '../../src/bytes.ts'
import type { ScanRequest } from '../../src/cluster/scan.ts'
import { UnorderedScan } from '../../src/cluster/unordered-scan.ts'
import { AbortedError, InvalidArgumentError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { type FakeNode, startFakeNode } from '../support/fake-node.ts'
import {
  expectedEntries,
  type ModelEntry,
  randomKey,
  randomScan,
  readAll,
} from '../support/scan-model.ts'
import { printSeed } from '../support/seed.ts'

const OWN = { durability: undefined, version: undefined }
const EVERYTHING: ScanRequest = { reverse: false, keysOnly: false, cursor: undefined }

async function fill(node: FakeNode, random: Random, count: number): Promise<ModelEntry[]> {
  const live = new Map<string, ModelEntry>()
  for (let index = 0; index < count; index++) {
    const key = randomKey(random, 1)
    const name = Buffer.from(key).toString('hex')
    const value = random.bytes(random.below(20))
    if (random.below(4) === 0) {
      await node.store.delete(key, OWN)
      live.delete(name)
    } else {
      await node.store.put(key, value, 0, OWN)
      live.set(name, [key, value])
    }
  }
  return [...live.values()]
}

function sorted(entries: readonly ModelEntry[]): ModelEntry[] {
  return [...entries].sort(([a], [b]) => compareBytes(a, b))
}

describe('unordered scan', () => {
  test('delivers the live entries of any range once', async t => {
    const random = seededRandom(printSeed(t))
    for (const partitionCount of [1, 2, 16, 65_536]) {
      const node = await startFakeNode({ partitionCount, random })
      const entries = await fill(node, random, 150)
      for (let round = 0; round < 40; round++) {
        const request = randomScan(random)
        const found = await readAll(new UnorderedScan(node.store, request), random)
        const expected = expectedEntries(entries, request)
        assert.deepEqual(sorted(found), sorted(expected), JSON.stringify(request))
      }
      assert.equal(node.engine.openSnapshots, 0)
    }
  })

  test('resumes after any page on a restarted node', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 40; round++) {
      let node = await startFakeNode({ partitionCount: 16, random })
      const entries = await fill(node, random, 100)
      const request = randomScan(random)
      const found: ModelEntry[] = []
      let cursor: Uint8Array | undefined
      do {
        const scan = new UnorderedScan(node.store, { ...request, cursor })
        const page = await scan.next(1 + random.below(9), 1000)
        scan.close()
        for (const [index, key] of page.keys.entries()) {
          found.push([key, page.values[index] ?? new Uint8Array(0)])
        }
        cursor = page.cursor
        assert.equal(cursor === undefined, page.done)
        const { engine, clock } = node
        node = await startFakeNode({ partitionCount: 16, random, engine: engine.crashed(), clock })
      } while (cursor !== undefined)
      const expected = expectedEntries(entries, request)
      assert.deepEqual(sorted(found), sorted(expected), JSON.stringify(request))
    }
  })

  test('goes on with other bounds, also when the cursor lies outside them', async t => {
    const random = seededRandom(printSeed(t))
    const node = await startFakeNode({ partitionCount: 16, random })
    const entries = await fill(node, random, 150)
    for (let round = 0; round < 100; round++) {
      const { reverse } = randomScan(random)
      const first = new UnorderedScan(node.store, { ...EVERYTHING, reverse })
      const page = await first.next(1 + random.below(entries.length - 1), 100_000)
      first.close()
      const seen = new Set(page.keys.map(String))
      const request = { ...randomScan(random), reverse, cursor: page.cursor }
      const found = await readAll(new UnorderedScan(node.store, request), random)
      const rest = expectedEntries(entries, request).filter(([key]) => !seen.has(String(key)))
      assert.deepEqual(sorted(found), sorted(rest))
    }
  })

  test('refuses a cursor that is not its own', async () => {
    const node = await startFakeNode({ partitionCount: 16 })
    await node.store.put(utf8Encode('a'), utf8Encode('v'), 0, OWN)
    await node.store.put(utf8Encode('b'), utf8Encode('v'), 0, OWN)
    const scan = new UnorderedScan(node.store, EVERYTHING)
    const { cursor } = await scan.next(1, 100)
    scan.close()
    assert.ok(cursor !== undefined)
    const other = await startFakeNode({ partitionCount: 32 })
    const foreign: [FakeNode, ScanRequest][] = [
      [other, { ...EVERYTHING, cursor }],
      [node, { ...EVERYTHING, reverse: true, cursor }],
      [node, { ...EVERYTHING, cursor: cursor.with(0, 2) }],
      [node, { ...EVERYTHING, cursor: cursor.subarray(0, 2) }],
      [node, { ...EVERYTHING, cursor: new Uint8Array(0) }],
      [node, { ...EVERYTHING, cursor: new Uint8Array(65_536).fill(1) }],
    ]
    for (const [{ store }, request] of foreign) {
      assert.throws(() => new UnorderedScan(store, request), InvalidArgumentError)
    }
    assert.equal(node.engine.openSnapshots, 0)
  })

  test('reads all partitions as one range when there are no bounds', async () => {
    const node = await startFakeNode({ partitionCount: 65_536 })
    for (let index = 0; index < 500; index++) {
      await node.store.put(utf8Encode(`user:${index}`), utf8Encode('v'), 0, OWN)
    }
    node.engine.readsOfRanges = 0
    const scan = new UnorderedScan(node.store, EVERYTHING)
    assert.equal((await scan.next(1000, 1_000_000)).keys.length, 500)
    scan.close()
    assert.ok(node.engine.readsOfRanges <= 3, `${node.engine.readsOfRanges} reads`)
  })

  test('a closed scan ends', async () => {
    const node = await startFakeNode()
    const scan = new UnorderedScan(node.store, EVERYTHING)
    scan.close()
    scan.close()
    await assert.rejects(scan.next(1, 1), AbortedError)
    assert.equal(node.engine.openSnapshots, 0)
  })
})
