// Goal: replicas that differ, whatever was lost on the way, come to hold the same bytes: by
// themselves, at once when a peer returns, and when asked; what is equal costs almost nothing, and
// what differs is exchanged in bounded pieces.
// Method: clusters whose replicas were given different parts of one history, with crashes, cuts and
// pauses by the seed, against the merge of all of it; then each promise alone.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { PartitionTree } from '../../src/cluster/partition-tree.ts'
import { PeerMessage } from '../../src/cluster/peers.ts'
import { encodeTombstone, encodeValue, mergeStored } from '../../src/cluster/versioned-value.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { FakeCluster, type FakeMember } from '../support/fake-cluster.ts'
import { printSeed } from '../support/seed.ts'

const WRITER = new Uint8Array(8).fill(3)

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** A value, one that expires sooner or later or did so, or a tombstone; versions seldom repeat. */
function randomForm(cluster: FakeCluster, random: Random): Uint8Array {
  const nowMs = cluster.clock.wallMs()
  const version = encodeVersion(nowMs - random.below(10_000_000), random.below(3), WRITER)
  const kind = random.below(6)
  if (kind === 0) return encodeTombstone(version)
  const expiryMs = kind === 1 ? nowMs - 5000 + random.below(10_000) : 0
  return encodeValue(version, random.bytes(random.below(40)), expiryMs)
}

function contents(member: FakeMember): Map<string, string> {
  const rows = member.engine.rows.filter(({ key }) => key.length > 2)
  return new Map(rows.map(({ key, value }) => [hex(key), hex(value)]))
}

/** Gives a form to one replica, and keeps the merge of all. */
async function give(
  model: Map<string, Uint8Array>,
  member: FakeMember,
  key: Uint8Array,
  stored: Uint8Array,
): Promise<void> {
  const engineKey = member.store.partitioner.engineKey(key)
  const known = model.get(hex(engineKey))
  model.set(hex(engineKey), known === undefined ? stored : mergeStored(known, stored))
  await member.store.applyStored([{ engineKey, stored: stored.slice() }])
}

function assertConverged(cluster: FakeCluster, model: ReadonlyMap<string, Uint8Array>): void {
  for (const member of cluster.members) {
    const expected = new Map<string, string>()
    for (const [key, stored] of model) {
      const partition = Number.parseInt(key.slice(0, 4), 16)
      if (cluster.table.isOwner(partition, member.id)) expected.set(key, hex(stored))
    }
    const found = contents(member)
    assert.deepEqual(found, expected)
  }
}

describe('anti-entropy', () => {
  test('replicas converge to the same bytes, whatever they lost', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 5; round++) {
      const nodes = 3 + random.below(3)
      const cluster = await FakeCluster.start({ random, nodes, repairs: true, partitionCount: 32 })
      const model = new Map<string, Uint8Array>()
      const keys = Array.from({ length: 60 }, () => random.bytes(1 + random.below(6)))
      const stopped = new Set<FakeMember>()
      for (let step = 0; step < 120; step++) {
        const key = keys[random.below(keys.length)]!
        switch (random.below(12)) {
          case 0:
            cluster.network.cut(
              cluster.members[random.below(nodes)]!.id,
              cluster.members[random.below(nodes)]!.id,
            )
            break
          case 1:
            cluster.network.pause(cluster.members[random.below(nodes)]!.id)
            break
          case 2: {
            const victim = cluster.members[random.below(nodes)]!
            if (stopped.size > 0 || stopped.has(victim)) break
            cluster.crash(victim)
            stopped.add(victim)
            break
          }
          case 3:
            cluster.network.mend()
            for (const member of stopped) await cluster.restart(member)
            stopped.clear()
            break
          case 4:
            await cluster.pass(random.below(400))
            break
          default: {
            const form = randomForm(cluster, random)
            for (const member of cluster.replicasOf(key)) {
              if (random.below(2) === 0 || stopped.has(member)) continue
              await give(model, member, key, form)
            }
          }
        }
      }
      cluster.network.mend()
      for (const member of stopped) await cluster.restart(member)
      await cluster.pass(65_000)
      assertConverged(cluster, model)
      for (const { engine, repair } of cluster.members) {
        assert.equal(engine.openSnapshots, 0)
        repair.close()
      }
    }
  })

  test('a peer that returns is compared at once', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3, repairs: true })
    await cluster.pass(40_000)
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    cluster.crash(c)
    const model = new Map<string, Uint8Array>()
    for (let index = 0; index < 100; index++) {
      const form = randomForm(cluster, random)
      for (const member of [a, b]) await give(model, member, utf8Encode(`k${index}`), form)
    }
    await cluster.pass(1000)
    await cluster.restart(c)
    await cluster.pass(1000)
    assertConverged(cluster, model)
    // Four rounds, of c with both and of both with c, which hardly repeat each other.
    const moved = cluster.members.map(({ repair }) => repair.exchange.figures.divergent)
    const movedCount = moved.reduce((sum, count) => sum + count, 0)
    assert.ok(movedCount >= model.size && movedCount <= 1.8 * model.size, `${movedCount}`)
    for (const { repair } of cluster.members) repair.close()
  })

  test('on demand everything is compared, and who cannot be is named', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    const model = new Map<string, Uint8Array>()
    for (let index = 0; index < 100; index++) {
      const member = cluster.members[random.below(3)]!
      await give(model, member, utf8Encode(`k${index}`), randomForm(cluster, random))
    }
    for (let pass = 0; pass < 2; pass++) {
      const run = a.repair.repairNow()
      assert.deepEqual(await cluster.settle(run.done), [])
    }
    assertConverged(cluster, model)
    cluster.network.cut(a.id, b.id)
    const failed = await cluster.settle(a.repair.repairNow().done)
    assert.deepEqual(
      failed.map(({ peer }) => peer),
      [b.id],
    )
    const peers = a.repair.stats['peers'] as Record<string, { lastRoundAgoMs?: number }>
    assert.ok(peers[c.id]!.lastRoundAgoMs! < 1000)
    for (const { repair } of cluster.members) repair.close()
  })

  test('a dirty partition is compared first, and clean only when it was', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3, repairs: true })
    await cluster.pass(1000)
    const [a, b] = cluster.members as [FakeMember, FakeMember]
    cluster.network.cut(a.id, b.id)
    a.dirty.set(b.id, new Set([3, 5]))
    await cluster.pass(100_000)
    assert.deepEqual([...a.dirty.get(b.id)!], [3, 5])
    cluster.network.mend()
    await cluster.pass(1000)
    assert.deepEqual([...a.dirty.get(b.id)!], [])
    for (const { repair } of cluster.members) repair.close()
  })

  test('equal replicas exchange roots, and read nothing twice', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3 })
    const model = new Map<string, Uint8Array>()
    for (let index = 0; index < 300; index++) {
      const form = randomForm(cluster, random)
      for (const member of cluster.members) await give(model, member, utf8Encode(`k${index}`), form)
    }
    const [a] = cluster.members as [FakeMember]
    await cluster.settle(a.repair.repairNow().done)
    const kinds = [...cluster.network.kinds.keys()]
    assert.deepEqual(kinds, [PeerMessage.treeRoots])
    const { built } = a.repair.trees
    await cluster.settle(a.repair.repairNow().done)
    assert.equal(a.repair.trees.built, built)
    assert.equal(built, 16)
    const key = utf8Encode('k7')
    await give(model, a, key, encodeValue(encodeVersion(cluster.clock.wallMs(), 0, WRITER), key, 0))
    await cluster.settle(a.repair.repairNow().done)
    assert.ok(a.repair.trees.built <= built + 2)
    assert.equal(a.repair.exchange.figures.divergent, 2)
    assertConverged(cluster, model)
    for (const { repair } of cluster.members) repair.close()
  })

  test('much that differs is exchanged in pieces, within the budget', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 2, partitionCount: 1 })
    const [a, b] = cluster.members as [FakeMember, FakeMember]
    const model = new Map<string, Uint8Array>()
    const value = random.bytes(5000)
    for (let index = 0; index < 1200; index++) {
      const version = encodeVersion(cluster.clock.wallMs() - index, 0, WRITER)
      const member = index % 3 === 0 ? b : a
      await give(model, member, utf8Encode(`k${index}`), encodeValue(version, value, 0))
    }
    let largest = 0
    const { request } = cluster.network
    cluster.network.request = async (from, to, kind, body, timeoutMs) => {
      const answer = await request.call(cluster.network, from, to, kind, body, timeoutMs)
      largest = Math.max(largest, body.length, answer.length)
      return answer
    }
    const beganMs = cluster.clock.monotonicMs()
    await cluster.settle(a.repair.repairNow().done)
    const tookMs = cluster.clock.monotonicMs() - beganMs
    assertConverged(cluster, model)
    assert.ok(largest < 300_000, `${largest} bytes`)
    const bytesPerMs = a.repair.exchange.figures.bytes / tookMs
    assert.ok(bytesPerMs < (16 * 1024 * 1024 * 1.2) / 1000, `${bytesPerMs} bytes a millisecond`)
    for (const { repair } of cluster.members) repair.close()
  })

  test('a copy that cannot be read is taken from the others', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3 })
    const [a] = cluster.members as [FakeMember]
    const model = new Map<string, Uint8Array>()
    const form = encodeValue(encodeVersion(cluster.clock.wallMs(), 0, WRITER), WRITER, 0)
    for (const member of cluster.members) await give(model, member, utf8Encode('k'), form)
    const rows = a.engine.rows
    a.engine.rows = rows.map(row =>
      row.key.length > 2 ? { ...row, value: row.value.slice(0, 9) } : row,
    )
    await cluster.settle(cluster.members[1]!.repair.repairNow().done)
    assertConverged(cluster, model)
    for (const { repair } of cluster.members) repair.close()
  })

  test('trees do not depend on order, and tell each head, size and key from every other', t => {
    const random = seededRandom(printSeed(t))
    const entries = Array.from({ length: 500 }, () => [random.bytes(5), random.bytes(18)] as const)
    const build = (
      of: readonly (readonly [Uint8Array, Uint8Array])[],
      size = 20,
    ): PartitionTree => {
      const tree = new PartitionTree()
      for (const [key, head] of of) tree.add(key, 0, key.length, head, 0, head.length, size)
      return tree
    }
    const tree = build(entries)
    assert.deepEqual(build([...entries].reverse()).root, tree.root)
    for (const at of [0, 17]) {
      const [key, head] = entries[at]!
      const changed = head.slice()
      changed[at] = changed[at]! ^ 1
      const others = entries.filter((_, index) => index !== at)
      for (const other of [build(others), build([...others, [key, changed]])]) {
        assert.notDeepEqual(other.root, tree.root)
        assert.equal(other.differences(tree).length, 1)
      }
    }
    assert.notDeepEqual(build(entries, 21).root, tree.root)
  })
})
