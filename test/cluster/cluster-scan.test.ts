// Goal: a scan across the cluster delivers the live entries of its range, once each and in order,
// on any node, also when replicas die in its midst; cursors hold on every node; memory is given
// back; a node that has everything asks nobody; nothing is told of a copy that lacks entries.
// Method: five nodes with three copies of random contents against a filter, links cut and nodes
// stopped between pages by the seed; then counts, and what cannot be read.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes } from '../../src/bytes.ts'
import { PartitionSet } from '../../src/cluster/partition-set.ts'
import type { PartitionScan, ScanRequest } from '../../src/cluster/scan.ts'
import { decodeOpen, encodeOpen } from '../../src/cluster/scan-messages.ts'
import { UnorderedScan } from '../../src/cluster/unordered-scan.ts'
import { encodeTombstone, encodeValue } from '../../src/cluster/versioned-value.ts'
import { ProtocolError, UnavailableError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { FakeCluster, type FakeMember } from '../support/fake-cluster.ts'
import { expectedEntries, type ModelEntry, randomKey, randomScan } from '../support/scan-model.ts'
import { printSeed } from '../support/seed.ts'

const EVERYTHING: ScanRequest = { reverse: false, keysOnly: false, cursor: undefined }
const WRITER = new Uint8Array(8).fill(3)

async function fill(cluster: FakeCluster, random: Random, count: number): Promise<ModelEntry[]> {
  const live = new Map<string, ModelEntry>()
  for (let index = 0; index < count; index++) {
    const key = randomKey(random, 1)
    const value = random.bytes(random.below(20))
    const name = Buffer.from(key).toString('hex')
    const isDeleted = random.below(4) === 0
    const version = encodeVersion(cluster.clock.wallMs() - count + index, 0, WRITER)
    for (const { store } of cluster.replicasOf(key)) {
      const stored = isDeleted ? encodeTombstone(version) : encodeValue(version, value, 0)
      await store.applyStored([{ engineKey: store.partitioner.engineKey(key), stored }])
    }
    if (isDeleted) live.delete(name)
    else live.set(name, [key, value])
  }
  return [...live.values()]
}

async function readAll(
  cluster: FakeCluster,
  scan: PartitionScan,
  between: () => void = () => undefined,
): Promise<ModelEntry[]> {
  const { random } = cluster
  const entries: ModelEntry[] = []
  for (;;) {
    const entriesMax = 1 + random.below(30)
    const page = await cluster.settle(scan.next(entriesMax, 1 + random.below(300)))
    assert.ok(page.keys.length <= entriesMax)
    assert.ok(page.keys.length > 0 || page.done)
    for (const [index, key] of page.keys.entries()) {
      entries.push([key, page.values[index] ?? new Uint8Array(0)])
    }
    if (page.done) break
    between()
  }
  scan.close()
  return entries
}

function sorted(entries: readonly ModelEntry[]): ModelEntry[] {
  return [...entries].sort(([a], [b]) => compareBytes(a, b))
}

async function checkNothingIsHeld(cluster: FakeCluster): Promise<void> {
  await cluster.clock.advanceAsync(10)
  for (const { engine, scans } of cluster.members) {
    assert.equal(engine.openSnapshots, 0)
    assert.deepEqual(scans.figures, { across: 0, forPeers: 0 })
    assert.equal(scans.memory.open, 0)
  }
}

describe('scans across the cluster', () => {
  test('deliver the live entries of any range, on any node', async t => {
    const random = seededRandom(printSeed(t))
    for (const partitionCount of [2, 16, 256]) {
      const cluster = await FakeCluster.start({ random, nodes: 5, partitionCount })
      const entries = await fill(cluster, random, 150)
      for (let round = 0; round < 30; round++) {
        const { scans } = cluster.members[random.below(5)]!
        const request = randomScan(random)
        const expected = expectedEntries(entries, request)
        const ordered = await readAll(cluster, scans.open(request, false))
        assert.deepEqual(ordered, expected, JSON.stringify(request))
        const unordered = await readAll(cluster, scans.open(request, true))
        assert.deepEqual(sorted(unordered), sorted(expected), JSON.stringify(request))
        const range = { gt: request.gt, gte: request.gte, lt: request.lt, lte: request.lte }
        const terms = { deadlineMs: Number.POSITIVE_INFINITY }
        assert.equal(await cluster.settle(scans.count(range, terms)), expected.length)
      }
      await checkNothingIsHeld(cluster)
    }
  })

  test('go on with another replica when one dies', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 12; round++) {
      const cluster = await FakeCluster.start({ random, nodes: 5, partitionCount: 64 })
      const entries = await fill(cluster, random, 300)
      const isUnordered = random.below(2) === 0
      const [self, ...others] = cluster.members as [FakeMember, ...FakeMember[]]
      const first = random.below(4)
      const victims = [others[first]!, others[(first + 1) % 4]!]
      const request = { ...EVERYTHING, reverse: random.below(2) === 0 }
      const scan = self.scans.open(request, isUnordered)
      const found = await readAll(cluster, scan, () => {
        const victim = random.below(4) === 0 ? victims.pop() : undefined
        if (victim === undefined) return
        if (random.below(2) === 0) cluster.crash(victim)
        else cluster.network.pause(victim.id)
      })
      const expected = expectedEntries(entries, request)
      if (isUnordered) assert.deepEqual(sorted(found), sorted(expected))
      else assert.deepEqual(found, expected)
    }
  })

  test('go on soon when replicas fall silent', async t => {
    const random = seededRandom(printSeed(t))
    let noticed = 0
    for (let round = 0; round < 3; round++) {
      const cluster = await FakeCluster.start({ random, nodes: 5, partitionCount: 64 })
      const entries = await fill(cluster, random, 100)
      const [self, ...others] = cluster.members as [FakeMember, ...FakeMember[]]
      const scan = self.scans.open(EVERYTHING, round % 2 === 0)
      const silent = others.slice(0, 2)
      for (const { id } of silent) cluster.network.pause(id)
      // The others notice it while the scan waits, if it needs one of the two.
      cluster.clock.setTimer(1000, () => {
        noticed++
        for (const { id } of silent) cluster.network.silence(id)
      })
      const beganMs = cluster.clock.monotonicMs()
      const found = await readAll(cluster, scan)
      const tookMs = cluster.clock.monotonicMs() - beganMs
      assert.ok(tookMs < 1000 + 2 * 2000, `took ${tookMs} ms`)
      assert.deepEqual(sorted(found), sorted(expectedEntries(entries, EVERYTHING)))
    }
    assert.ok(noticed > 0, 'some fell silent amid a scan')
  })

  test('a scan whose link broke is never taken for one that was opened since', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 6; round++) {
      const cluster = await FakeCluster.start({ random, nodes: 5, partitionCount: 64 })
      const entries = await fill(cluster, random, 200)
      const [self, ...others] = cluster.members as [FakeMember, ...FakeMember[]]
      const isUnordered = random.below(2) === 0
      const scans = [false, true].map(reverse => ({ ...EVERYTHING, reverse }))
      const [first, second] = scans.map(request => self.scans.open(request, isUnordered))
      const begun = await cluster.settle(first!.next(1, 1000))
      // Nobody asks for anything while the peers forget what was open.
      for (const other of others) {
        if (round % 2 === 0) cluster.network.cut(self.id, other.id)
        else cluster.crash(other)
      }
      cluster.network.mend()
      if (round % 2 !== 0) for (const other of others) await cluster.restart(other)
      const other = await cluster.settle(second!.next(1, 1000))
      const found = [...begun.keys, ...(await readAll(cluster, first!)).map(([key]) => key)]
      const back = [...other.keys, ...(await readAll(cluster, second!)).map(([key]) => key)]
      const expected = sorted(entries).map(([key]) => key)
      assert.deepEqual(found.sort(compareBytes), expected)
      assert.deepEqual(back.sort(compareBytes), expected)
    }
  })

  test('a count goes on soon when replicas fall silent', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 5, partitionCount: 64 })
    const entries = await fill(cluster, random, 100)
    const [self, ...others] = cluster.members as [FakeMember, ...FakeMember[]]
    // Whoever is asked says nothing; the first two of them are noticed.
    const silent = others.slice(0, 2)
    for (const { id } of silent) cluster.network.pause(id)
    cluster.clock.setTimer(1000, () => {
      for (const { id } of silent) cluster.network.silence(id)
    })
    const beganMs = cluster.clock.monotonicMs()
    const terms = { deadlineMs: beganMs + 30_000 }
    const count = await cluster.settle(self.scans.count({}, terms))
    const tookMs = cluster.clock.monotonicMs() - beganMs
    assert.equal(count, entries.length)
    assert.ok(tookMs < 1000 + 2000, `took ${tookMs} ms`)
  })

  test('an unordered one goes on with its cursor on any other node', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 5, partitionCount: 64 })
    const entries = await fill(cluster, random, 200)
    for (const reverse of [false, true]) {
      const found: ModelEntry[] = []
      let cursor: Uint8Array | undefined
      do {
        const { scans } = cluster.members[random.below(5)]!
        const scan = scans.open({ ...EVERYTHING, reverse, cursor }, true)
        const page = await cluster.settle(scan.next(1 + random.below(9), 1000))
        scan.close()
        for (const [index, key] of page.keys.entries()) found.push([key, page.values[index]!])
        cursor = page.cursor
        assert.equal(cursor === undefined, page.done)
      } while (cursor !== undefined)
      assert.deepEqual(sorted(found), sorted(entries))
    }
    await checkNothingIsHeld(cluster)
  })

  test('a scan that nobody reads on is forgotten by the peers, and goes on when it is', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 5, partitionCount: 64 })
    const entries = await fill(cluster, random, 200)
    const [{ scans }] = cluster.members as [FakeMember]
    const scan = scans.open(EVERYTHING, false)
    const first = await cluster.settle(scan.next(3, 1000))
    assert.ok(cluster.members.some(member => member.scans.figures.forPeers > 0))
    await cluster.clock.advanceAsync(61_000)
    assert.ok(cluster.members.every(member => member.scans.figures.forPeers === 0))
    const rest = await readAll(cluster, scan)
    assert.equal(first.keys.length + rest.length, entries.length)
    await checkNothingIsHeld(cluster)
  })

  test('fail when no replica of something can be reached, and hold nothing then', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 5, partitionCount: 64 })
    await fill(cluster, random, 100)
    const [self] = cluster.members as [FakeMember]
    const { table } = cluster
    const lost = Array.from({ length: 64 }, (_, partition) => partition).find(
      partition => !table.isOwner(partition, self.id),
    )!
    const owners = cluster.members.filter(({ id }) => table.isOwner(lost, id))
    for (const owner of owners) cluster.network.cut(self.id, owner.id)
    const scan = self.scans.open(EVERYTHING, false)
    await assert.rejects(cluster.settle(scan.next(3, 1000)), UnavailableError)
    await assert.rejects(scan.next(1, 1), /closed/)
    const terms = { deadlineMs: Number.POSITIVE_INFINITY }
    await assert.rejects(cluster.settle(self.scans.count({}, terms)), UnavailableError)
    await checkNothingIsHeld(cluster)
  })

  test('say nothing of a copy that lacks entries, also when it loses them in their midst', async t => {
    const random = seededRandom(printSeed(t))
    const terms = { deadlineMs: Number.POSITIVE_INFINITY }
    for (const nodes of [3, 5]) {
      for (let round = 0; round < 4; round++) {
        const cluster = await FakeCluster.start({ random, nodes, partitionCount: 64 })
        const entries = sorted(await fill(cluster, random, 150))
        const [victim, ...others] = cluster.members as [FakeMember, ...FakeMember[]]
        const own = victim.scans.guarded(new UnorderedScan(victim.store, EVERYTHING))
        assert.ok((await cluster.settle(own.next(1, 1000))).keys.length <= 1)
        let isLost = false
        const lose = (): void => {
          if (isLost) return
          isLost = true
          void victim.marks.damaged.add(Array.from({ length: 64 }, (_, partition) => partition))
          victim.engine.rows = victim.engine.rows.filter(({ key }) => key.length <= 2)
        }
        if (round % 2 === 0) lose()
        const reader = round < 2 ? victim : others[0]!
        const isUnordered = random.below(2) === 0
        const scan = reader.scans.open(EVERYTHING, isUnordered)
        assert.deepEqual(sorted(await readAll(cluster, scan, lose)), entries)
        lose()
        const again = reader.scans.open(EVERYTHING, !isUnordered)
        assert.deepEqual(sorted(await readAll(cluster, again)), entries)
        assert.equal(await cluster.settle(reader.scans.count({}, terms)), entries.length)
        await assert.rejects(cluster.settle(own.next(1, 1000)), UnavailableError)
        own.close()
        assert.equal(victim.scans.isLocal, false)
        for (const other of others) cluster.network.cut(victim.id, other.id)
        const alone = victim.scans.open(EVERYTHING, isUnordered)
        await assert.rejects(cluster.settle(alone.next(1, 1000)), UnavailableError)
        await assert.rejects(cluster.settle(victim.scans.count({}, terms)), UnavailableError)
      }
    }
  })

  test('bring a large value over a narrow link', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 5, bytesPerSecond: 100_000 })
    const key = randomKey(random, 1)
    const version = encodeVersion(cluster.clock.wallMs(), 0, WRITER)
    const stored = encodeValue(version, new Uint8Array(600_000), 0)
    const owners = cluster.replicasOf(key)
    for (const { store } of owners) {
      await store.applyStored([{ engineKey: store.partitioner.engineKey(key), stored }])
    }
    const reader = cluster.members.find(member => !owners.includes(member))!
    const beganMs = cluster.clock.monotonicMs()
    const scan = reader.scans.open(EVERYTHING, false)
    const page = await cluster.settle(scan.next(10, 1000))
    scan.close()
    assert.equal(page.values[0]?.length, 600_000)
    const tookMs = cluster.clock.monotonicMs() - beganMs
    assert.ok(tookMs > 6000 && tookMs < 7000, `${tookMs}`)
  })

  test('a node that has a copy of everything needs nobody else', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3 })
    assert.ok(cluster.members.every(({ scans }) => scans.isLocal))
    const larger = await FakeCluster.start({ random, nodes: 5 })
    assert.ok(larger.members.every(({ scans }) => !scans.isLocal))
  })

  test('messages: what was encoded is decoded, what is none is refused', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 200; round++) {
      const partitions = new PartitionSet(16)
      for (let count = random.below(16); count > 0; count--) partitions.add(random.below(16))
      const cursor = random.below(2) === 0 ? undefined : random.bytes(4)
      const request = { ...randomScan(random), cursor }
      const message = { epoch: 7, isUnordered: random.below(2) === 0, request, partitions }
      const bytes = encodeOpen({ ...message, entriesMax: 5, bytesMax: 6 }).slice()
      const read = decodeOpen(bytes, 16)
      assert.deepEqual(encodeOpen(read), bytes)
      assert.deepEqual([...read.partitions], [...partitions])
      assert.throws(() => decodeOpen(bytes, 32), ProtocolError)
      assert.throws(() => decodeOpen(bytes.subarray(0, bytes.length - 1), 16), ProtocolError)
    }
    assert.equal(PartitionSet.decode(Uint8Array.of(0xff), 4), undefined)
    assert.deepEqual([...PartitionSet.decode(Uint8Array.of(0x05), 4)!], [0, 2])
  })
})
