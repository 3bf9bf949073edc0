// Goal: replicas that differ, whatever was lost on the way, come to hold the same bytes: by
// themselves, at once when a peer returns, and when asked; what is equal costs almost nothing, and
// what differs is exchanged in bounded pieces.
// Method: clusters whose replicas were given different parts of one history, with crashes, cuts and
// pauses by the seed, against the merge of all of it; then each promise alone.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { Partitioner } from '../../src/cluster/partition.ts'
import { PartitionTree } from '../../src/cluster/partition-tree.ts'
import { PeerMessage } from '../../src/cluster/peers.ts'
import type { ReadTerms } from '../../src/cluster/read-coordinator.ts'
import {
  encodeAnswer,
  type ReplicaAnswer,
  ReplicaStatus,
} from '../../src/cluster/replica-message.ts'
import type { StoreSalvage } from '../../src/cluster/store.ts'
import { encodeTombstone, encodeValue, mergeStored } from '../../src/cluster/versioned-value.ts'
import type { Db } from '../../src/engine/index.ts'
import { CorruptionError, UnavailableError } from '../../src/errors.ts'
import type { Consistency } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { FakeCluster, type FakeMember } from '../support/fake-cluster.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

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
            // Left from a ring in which it owned the key: the owners have it in the end, alone.
            const other = cluster.members[random.below(nodes)]!
            if (random.below(4) === 0 && !stopped.has(other)) await give(model, other, key, form)
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

  test('what lies on a node that does not own it goes once all owners have answered', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 4, repairs: true })
    const key = utf8Encode('k')
    const owners = cluster.replicasOf(key)
    const other = cluster.members.find(member => !owners.includes(member))!
    cluster.crash(owners[1]!)
    await give(new Map(), other, key, cluster.form(1))
    await cluster.pass(20_000)
    assert.equal(contents(other).size, 1, 'one of them is away')
    await cluster.restart(owners[1]!)
    // Since then the key was deleted, and that is forgotten, too: nobody takes it up again.
    const partition = other.store.partitioner.partitionOf(key)
    for (const { marks } of owners) await marks.advance([partition], cluster.clock.wallMs())
    await cluster.pass(40_000)
    for (const member of cluster.members) assert.equal(contents(member).size, 0)
    for (const { repair } of cluster.members) repair.close()
  })

  test('what lies there stays to be given while an owner is behind or refuses it', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 4, repairs: true })
    const key = utf8Encode('k')
    const owners = cluster.replicasOf(key)
    const other = cluster.members.find(member => !owners.includes(member))!
    await give(new Map(), other, key, cluster.form(1))
    const request = other.peers.request.bind(other.peers)
    const answers: ReplicaAnswer[] = [
      { status: ReplicaStatus.behind, epoch: 0, pauseMs: 0, refused: [] },
      { status: ReplicaStatus.applied, epoch: 0, pauseMs: 0, refused: [0] },
    ]
    other.peers.request = (peer, lane, kind, body, timeoutMs) => {
      const answer = kind === PeerMessage.hints ? answers.shift() : undefined
      if (answer !== undefined) return Promise.resolve(encodeAnswer(answer).slice())
      return request(peer, lane, kind, body, timeoutMs)
    }
    await cluster.pass(30_000)
    assert.equal(contents(other).size, 0)
    for (const owner of owners) assert.equal(contents(owner).size, 1)
    for (const { repair } of cluster.members) repair.close()
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

describe('what a node has lost to a flipped byte', () => {
  test('is given up only where no record of the node may be among it', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3, partitionCount: 4096 })
    const [a] = cluster.members as [FakeMember]
    const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
    const read = a.engine.read.bind(a.engine)
    let [smallestKey, largestKey, damaged] = ['', '', '']
    a.engine.read = (key, snapshot) => {
      if (hex(key) !== damaged) return read(key, snapshot)
      throw new CorruptionError({ path: '000005.sst', offset: 4096 }, 'a flipped byte')
    }
    const compact = ({ onLost }: StoreSalvage): Promise<void> =>
      onLost([{ smallestKey: bytes(smallestKey), largestKey: bytes(largestKey) }])
    Object.assign(a.engine, { compact })
    for (const [from, to, unreadable, isGivenUp] of [
      ['08ff61', '090061', '0a', true],
      ['08ff61', '090061', '09', false],
      ['08ff61', '090061', '0900', false],
      ['090361', '090561', '0903', true],
      ['090361', '090561', '0904', false],
      ['090361', '090561', '0905', false],
    ] as const) {
      const { salvage } = a.repair
      const { lostBlocks } = salvage
      smallestKey = from
      largestKey = to
      damaged = unreadable
      salvage.found(0x0903)
      assert.ok(salvage.isRunning)
      while (salvage.isRunning) await cluster.pass(5)
      assert.equal(salvage.lostBlocks > lostBlocks, isGivenUp, `${from} to ${to}: ${damaged}`)
      // After one that failed it waits.
      await cluster.clock.advanceAsync(600_001)
    }
  })

  test('is not there again while another that has it cannot tell', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3, partitionCount: 1 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    const key = utf8Encode('key')
    const stored = cluster.form(5)
    await b.store.applyStored([{ engineKey: b.store.partitioner.engineKey(key), stored }])
    await cluster.settle(a.marks.damaged.add([0]))
    // It gets rid of a block of another partition, say.
    Object.defineProperty(b.repair.salvage, 'isRunning', { value: true, configurable: true })
    for (const { id } of [b, c]) {
      const outcomes = await cluster.settle(a.repair.exchange.compare(id, [0]))
      assert.deepEqual([...outcomes], [[0, id === b.id ? 'skipped' : 'equal']])
    }
    assert.ok(a.marks.damaged.has(0), 'not compared with all')
    Reflect.deleteProperty(b.repair.salvage, 'isRunning')
    // And then what may be an old copy of its disk.
    cluster.voteless.add(b.id)
    const early = cluster.settle(a.repair.exchange.compare(b.id, [0]))
    await assert.rejects(early, UnavailableError)
    assert.ok(a.marks.damaged.has(0), 'not compared with who is b for certain')
    cluster.voteless.delete(b.id)
    await cluster.settle(a.repair.exchange.compare(b.id, [0]))
    assert.equal(a.marks.damaged.has(0), false)
    cluster.network.cut(a.id, b.id)
    const deadlineMs = cluster.clock.monotonicMs() + 1000
    const found = a.reads.get(key, { consistency: 'quorum', deadlineMs })
    assert.deepEqual(await cluster.settle(Promise.resolve(found)), utf8Encode('5'))
  })

  for (const rot of ['a block', 'an entry'] as const) {
    test(`is not hidden by an older write, when it is ${rot}`, async t => {
      const random = seededRandom(printSeed(t))
      const cluster = await FakeCluster.start({ random, nodes: 3, partitionCount: 1 })
      const [a, b] = cluster.members as [FakeMember, FakeMember]
      const engineKey = a.store.partitioner.engineKey(utf8Encode('key'))
      const give = ({ store }: FakeMember, number: number) =>
        store.applyStored([{ engineKey, stored: cluster.form(number) }], 'sync')
      for (const member of [a, b]) await give(member, 2)
      const { read } = a.engine
      a.engine.read = (key, snapshot) => {
        if (key.length !== engineKey.length) return read.call(a.engine, key, snapshot)
        if (rot === 'an entry') return Uint8Array.of(9)
        throw new CorruptionError({ path: '000005.sst', offset: 4096 }, 'a flipped byte')
      }
      // A hint that comes late, say. Nobody reads the block any more: what is newer hides it.
      await give(a, 1)
      a.engine.read = read
      const get = () => {
        const terms = { consistency: 'quorum', deadlineMs: cluster.clock.monotonicMs() + 1000 }
        return cluster.settle(Promise.resolve(a.reads.get(utf8Encode('key'), terms as ReadTerms)))
      }
      cluster.crash(b)
      await assert.rejects(get(), UnavailableError)
      await cluster.restart(b)
      await cluster.settle(a.repair.repairNow().done)
      assert.equal(a.marks.damaged.count, 0)
      assert.deepEqual(await get(), utf8Encode('2'))
    })
  }

  const PARTITIONS = 16
  const MARK_AGO_MS = 5_000_000

  /** Three disks with the same, one of which is damaged then; and what is to be there. */
  async function disksOf(random: Random) {
    const clock = new SimClock()
    const partitioner = new Partitioner(PARTITIONS)
    const disks = [0, 1, 2].map(() => new MemoryFileSystem())
    const engines = await Promise.all(disks.map(disk => openEngine(disk, { clock })))
    const model = new Map<string, Uint8Array | undefined>()
    const nowMs = Math.floor(clock.wallMs())
    const writeAll = (writes: readonly (readonly [string, Uint8Array | undefined])[]) => {
      const operations = writes.map(([name, value]) => {
        const key = partitioner.engineKey(utf8Encode(name))
        return value === undefined
          ? ({ type: 'del', key } as const)
          : ({ type: 'put', key, value, expiryMs: 0 } as const)
      })
      for (const [name, value] of writes) model.set(name, value)
      return drive(clock, Promise.all(engines.map(engine => engine.write(operations))))
    }
    const version = (agoMs: number) => encodeVersion(nowMs - agoMs, 0, WRITER)
    for (let part = 0; part < 12; part++) {
      const writes = Array.from({ length: 20 }, () => {
        const name = `k${random.below(100)}`
        const agoMs = 10_000_000 - 500_000 * part
        const isTombstone = agoMs < MARK_AGO_MS && random.below(4) === 0
        if (isTombstone) return [name, encodeTombstone(version(agoMs))] as const
        return [name, encodeValue(version(agoMs), random.bytes(30 + random.below(30)), 0)] as const
      })
      // What is old and deleted is purged everywhere: the engine alone knows that it is gone.
      const purged = part === 8 ? [...model.keys()].filter(() => random.below(3) === 0) : []
      await writeAll([...new Map(writes), ...purged.map(name => [name, undefined] as const)])
    }
    for (const engine of engines) await engine.close()
    const tables = disks[0]!.paths().filter(path => path.endsWith('.sst'))
    // The youngest, for what it has nobody has written again since.
    const path = tables.sort().at(-1)!
    const bytes = disks[0]!.peek(path).slice()
    bytes[random.below(bytes.length >> 1)]! ^= 0x10
    disks[0]!.plant(path, bytes)
    return { disks, model, markMs: nowMs - MARK_AGO_MS }
  }

  test('comes back from the others, and nothing else comes with it', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 2; round++) {
      const { disks, model, markMs } = await disksOf(random)
      const engines: Db[] = []
      const cluster = await FakeCluster.start({
        ...{ random, nodes: 3, partitionCount: PARTITIONS },
        openStore: async (number, clock) => {
          engines[number] = await openEngine(disks[number]!, { clock })
          return engines[number]
        },
      })
      const all = Array.from({ length: PARTITIONS }, (_, partition) => partition)
      const [victim, ...others] = cluster.members as [FakeMember, FakeMember, FakeMember]
      // For now nothing comes back.
      const compare = others.map(({ peers }) => peers.handlers.get(PeerMessage.treeRoots)!)
      const refuse = () => Promise.reject(new UnavailableError('not now'))
      for (const { peers } of others) peers.handlers.set(PeerMessage.treeRoots, refuse)
      for (const { marks, repair } of cluster.members) {
        await cluster.settle(marks.advance(all, markMs))
        repair.start()
      }
      while (victim.repair.salvage.runs === 0) await cluster.pass(20)
      const expected = (name: string): Uint8Array | undefined => {
        const stored = model.get(name)
        return stored && victim.store.liveAt(utf8Encode(name), stored, cluster.clock.wallMs())
      }
      const read = (reader: FakeMember, name: string, consistency: Consistency) => {
        const deadlineMs = cluster.clock.monotonicMs() + 1000
        const terms = { consistency, deadlineMs }
        return cluster.settle(Promise.resolve(reader.reads.get(utf8Encode(name), terms)))
      }
      for (const name of model.keys()) {
        assert.deepEqual(await read(victim, name, 'one'), expected(name), name)
        const reader = cluster.members[random.below(3)]!
        assert.deepEqual(await read(reader, name, 'quorum'), expected(name), name)
        const deadlineMs = cluster.clock.monotonicMs() + 1000
        const terms = { consistency: 'one', deadlineMs } as const
        const entry = victim.reads.entry(utf8Encode(name), terms)
        const { value } = (await cluster.settle(Promise.resolve(entry))) ?? {}
        assert.deepEqual(value, expected(name), name)
        const partition = victim.store.partitioner.partitionOf(utf8Encode(name))
        if (!victim.marks.damaged.has(partition)) continue
        await assert.rejects(read(others[0]!, name, 'all'), UnavailableError, 'it has no voice')
      }
      const live = [...model.keys()].filter(name => expected(name) !== undefined).length
      const terms = { deadlineMs: Number.POSITIVE_INFINITY }
      assert.equal(await cluster.settle(victim.scans.count({}, terms)), live)
      for (const [at, { peers }] of others.entries()) {
        peers.handlers.set(PeerMessage.treeRoots, compare[at]!)
      }
      await cluster.pass(6000)
      assert.equal(victim.repair.salvage.runs, 1)
      assert.ok(victim.repair.salvage.lostBlocks >= 1)
      for (const member of cluster.members) {
        assert.equal(member.marks.damaged.count, 0)
        for (const [name, stored] of model) {
          const key = member.store.partitioner.engineKey(utf8Encode(name))
          const found = await cluster.settle(Promise.resolve(member.store.readStored(key)))
          assert.deepEqual(found && hex(found), stored && hex(stored), name)
        }
        member.repair.close()
      }
      for (const engine of engines) {
        assert.deepEqual((await drive(cluster.clock, engine.verify())).findings, [])
        await engine.close()
      }
    }
  })
})
