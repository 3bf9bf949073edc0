// Goal: an ordered scan delivers exactly the live entries of its range in key order, from one
// frozen state, reading little more than it delivers and holding the event loop never for long.
// Method: random contents, ranges, directions and page sizes against a sort, over few and many
// partitions; then counts of reads for what is promised about cost.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { OrderedScan } from '../../src/cluster/ordered-scan.ts'
import type { ScanRequest } from '../../src/cluster/scan.ts'
import { ScanMemory } from '../../src/cluster/scan-memory.ts'
import { AbortedError, NotFoundError, OverloadedError } from '../../src/errors.ts'
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
    const value = random.bytes(random.below(8) === 0 ? 3000 : random.below(20))
    const fate = random.below(4)
    if (fate === 0) await node.store.delete(key, OWN)
    else await node.store.put(key, value, fate === 1 ? 100 : 0, OWN)
    if (fate >= 2) live.set(name, [key, value])
    else live.delete(name)
  }
  node.clock.advance(100)
  return [...live.values()]
}

describe('ordered scan', () => {
  test('delivers the live entries of any range in order', async t => {
    const random = seededRandom(printSeed(t))
    for (const partitionCount of [1, 2, 16, 256, 65_536]) {
      const node = await startFakeNode({ partitionCount, random })
      const entries = await fill(node, random, 150)
      const memory = new ScanMemory(node.clock)
      for (let round = 0; round < 40; round++) {
        const request = randomScan(random)
        const scan = new OrderedScan(node.store, request, memory)
        const found = await readAll(scan, random)
        assert.deepEqual(found, expectedEntries(entries, request), JSON.stringify(request))
      }
      assert.equal(node.engine.openSnapshots, 0)
      assert.equal(memory.open, 0)
      assert.equal(memory.heldBytes, 0)
    }
  })

  test('sees the state of the moment at which it was opened', async t => {
    const random = seededRandom(printSeed(t))
    const node = await startFakeNode({ random })
    const entries = await fill(node, random, 100)
    const scan = new OrderedScan(node.store, EVERYTHING, new ScanMemory(node.clock))
    const first = await scan.next(1, 1)
    for (const [key] of entries) await node.store.delete(key, OWN)
    const rest = await readAll(scan, random)
    const expected = expectedEntries(entries, EVERYTHING)
    assert.deepEqual(
      [first.keys[0], ...rest.map(([key]) => key)],
      expected.map(([key]) => key),
    )
  })

  test('of ten entries reads one entry a partition and little more', async () => {
    const node = await startFakeNode({ partitionCount: 64 })
    for (let index = 0; index < 1000; index++) {
      await node.store.put(utf8Encode(`user:${index}`), utf8Encode('v'), 0, OWN)
    }
    const { engine } = node
    engine.entriesRead = 0
    engine.readsOfRanges = 0
    const scan = new OrderedScan(node.store, EVERYTHING, new ScanMemory(node.clock))
    const page = await scan.next(10, 1_000_000)
    scan.close()
    assert.equal(page.keys.length, 10)
    assert.ok(engine.readsOfRanges <= 64 + 16 + 10, `${engine.readsOfRanges} reads`)
    assert.ok(engine.entriesRead <= 64 + 10 * 4, `${engine.entriesRead} entries`)
  })

  test('leaps over empty partitions', async () => {
    const node = await startFakeNode({ partitionCount: 65_536 })
    for (const name of ['a', 'b', 'c']) await node.store.put(utf8Encode(name), NOTHING, 0, OWN)
    node.engine.readsOfRanges = 0
    const scan = new OrderedScan(node.store, EVERYTHING, new ScanMemory(node.clock))
    assert.equal((await scan.next(10, 1000)).keys.length, 3)
    scan.close()
    assert.ok(node.engine.readsOfRanges <= 40, `${node.engine.readsOfRanges} reads`)
  })

  test('reads seldom once it is under way', async () => {
    const node = await startFakeNode({ partitionCount: 4 })
    for (let index = 0; index < 2000; index++) {
      await node.store.put(utf8Encode(`user:${index}`), utf8Encode('v'), 0, OWN)
    }
    node.engine.readsOfRanges = 0
    const scan = new OrderedScan(node.store, EVERYTHING, new ScanMemory(node.clock))
    const page = await scan.next(10_000, 1_000_000)
    scan.close()
    assert.equal(page.keys.length, 2000)
    assert.ok(node.engine.readsOfRanges <= 50, `${node.engine.readsOfRanges} reads`)
  })

  test('leaves large values behind and reads them again when their turn comes', async () => {
    // 256 bytes a partition: 16 MiB by 65,536, and the least that is worth a read.
    const node = await startFakeNode({ partitionCount: 65_536 })
    for (let index = 0; index < 30; index++) {
      const value = new Uint8Array(index % 2 === 0 ? 256 : 257).fill(index)
      await node.store.put(utf8Encode(`user:${index}`), value, 0, OWN)
    }
    node.engine.readsOfKeys = 0
    const scan = new OrderedScan(node.store, EVERYTHING, new ScanMemory(node.clock))
    const first = await scan.next(1, 1)
    assert.equal(node.engine.readsOfKeys, 0)
    const rest = await scan.next(100, 100_000)
    scan.close()
    assert.equal(node.engine.readsOfKeys, 15)
    for (const [index, value] of [...first.values, ...rest.values].entries()) {
      const name = utf8Decode([...first.keys, ...rest.keys][index]!)
      assert.equal(value[0], Number(name.slice(5)))
    }
  })

  test('a closed scan ends, also while it reads', async () => {
    const node = await startFakeNode({ random: seededRandom(1) })
    for (let index = 0; index < 100; index++) {
      await node.store.put(utf8Encode(`user:${index}`), utf8Encode('v'), 0, OWN)
    }
    const memory = new ScanMemory(node.clock)
    const scan = new OrderedScan(node.store, EVERYTHING, memory)
    const page = scan.next(10, 1000)
    scan.close()
    scan.close()
    await assert.rejects(page, AbortedError)
    await assert.rejects(scan.next(10, 1000), AbortedError)
    assert.equal(memory.open, 0)
    assert.equal(memory.heldBytes, 0)
  })

  test('one that is not read gives way to others, and can be told from a closed one', async () => {
    const node = await startFakeNode()
    await node.store.put(utf8Encode('a'), utf8Encode('v'), 0, OWN)
    const memory = new ScanMemory(node.clock)
    const scans = Array.from({ length: 256 }, () => new OrderedScan(node.store, EVERYTHING, memory))
    node.clock.advance(900)
    const [forgotten, ...others] = scans
    for (const scan of others) await scan.next(1, 1)
    node.clock.advance(100)
    const late = new OrderedScan(node.store, EVERYTHING, memory)
    assert.equal(memory.open, 256)
    await assert.rejects(forgotten!.next(1, 1), NotFoundError)
    for (const scan of [late, ...scans]) scan.close()
    assert.equal(memory.open, 0)
    assert.equal(node.engine.openSnapshots, 0)
  })

  test('what they hold together is counted and limited', async () => {
    const node = await startFakeNode({ partitionCount: 1024 })
    for (let index = 0; index < 400; index++) {
      const key = new Uint8Array(30_000).fill(index)
      key[0] = index >> 8
      await node.store.put(key, new Uint8Array(30_000), 0, OWN)
    }
    const memory = new ScanMemory(node.clock)
    const scans: OrderedScan[] = []
    let refused = 0
    for (let index = 0; index < 30; index++) {
      const scan = new OrderedScan(node.store, EVERYTHING, memory)
      scans.push(scan)
      try {
        await scan.next(1, 1)
      } catch (error) {
        assert.ok(error instanceof OverloadedError)
        scan.close()
        refused++
      }
      assert.ok(memory.heldBytes <= 128 << 20, `${memory.heldBytes} bytes are held`)
    }
    assert.ok(refused > 5 && refused < 25, `${refused} of 30 were refused`)
    // Those that came first stand idle now: they make room.
    node.clock.advance(1001)
    const late = new OrderedScan(node.store, EVERYTHING, memory)
    assert.equal((await late.next(1, 1)).keys.length, 1)
    for (const scan of [late, ...scans]) scan.close()
    assert.equal(memory.heldBytes, 0)
  })

  test('too many at once are refused', async () => {
    const node = await startFakeNode()
    const memory = new ScanMemory(node.clock)
    const scans = Array.from({ length: 256 }, () => new OrderedScan(node.store, EVERYTHING, memory))
    assert.throws(() => new OrderedScan(node.store, EVERYTHING, memory), OverloadedError)
    assert.ok(memory.share * 256 <= 64 * 1024 * 1024)
    scans.pop()?.close()
    new OrderedScan(node.store, EVERYTHING, memory).close()
    for (const scan of scans) scan.close()
  })
})

const NOTHING = new Uint8Array(0)
