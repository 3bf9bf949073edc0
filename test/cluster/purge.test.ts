// Goal: deletions go once every replica holds them and nobody owes anything older, not before; what
// was deleted and forgotten never comes back, by a late message, a read, a comparison, or a node
// whose disk is an old copy.
// Method: replicas with deletions a day old, and each way in which an old value could return; then
// planted bugs, each of which the check for the dead must find.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ByteWriter, utf8Encode } from '../../src/bytes.ts'
import { BelievedClock } from '../../src/cluster/believed-clock.ts'
import { ClusterNode } from '../../src/cluster/cluster-node.ts'
import type { StoredEntry } from '../../src/cluster/partitioned-store.ts'
import { PeerMessage } from '../../src/cluster/peers.ts'
import { PurgeMarks } from '../../src/cluster/purge-marks.ts'
import { decodePurge, encodePurge, PurgeStep } from '../../src/cluster/purge-messages.ts'
import { PURGE_GRACE_MS } from '../../src/cluster/purge-rounds.ts'
import { encodeRepair } from '../../src/cluster/read-messages.ts'
import { encodePush } from '../../src/cluster/repair-messages.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import { compareStored, encodeTombstone, encodeValue } from '../../src/cluster/versioned-value.ts'
import { ProtocolError, UnavailableError } from '../../src/errors.ts'
import type { Consistency } from '../../src/key-value-store.ts'
import { silentLogger } from '../../src/logger.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { FakeCluster, type FakeMember } from '../support/fake-cluster.ts'
import { startFakeNode } from '../support/fake-node.ts'
import { FakeNetwork } from '../support/fake-peers.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { ringOf } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'

const WRITER = new Uint8Array(8).fill(3)
const HOUR = 3_600_000
const LIVE = utf8Encode('live')
const DEAD = utf8Encode('dead')
const EXPIRED = utf8Encode('expired')
const FRESH = utf8Encode('fresh')

function formAt(cluster: FakeCluster, agoMs: number, kind: 'value' | 'tombstone' | 'expired') {
  const timeMs = cluster.clock.wallMs() - agoMs
  const version = encodeVersion(timeMs, 0, WRITER)
  if (kind === 'tombstone') return encodeTombstone(version)
  return encodeValue(version, utf8Encode(kind), kind === 'expired' ? timeMs + 1000 : 0)
}

function entryOf(member: FakeMember, key: Uint8Array, stored: Uint8Array): StoredEntry {
  return { engineKey: member.store.partitioner.engineKey(key), stored: stored.slice() }
}

async function giveAll(cluster: FakeCluster, key: Uint8Array, stored: Uint8Array): Promise<void> {
  for (const member of cluster.members) {
    await member.store.applyStored([entryOf(member, key, stored)])
  }
}

/** What the member has under the key: nothing, a value or a tombstone. */
function stateOf(member: FakeMember, key: Uint8Array): 'nothing' | 'value' | 'tombstone' {
  const { engineKey } = entryOf(member, key, key)
  const row = member.engine.rows.find(candidate => Buffer.compare(candidate.key, engineKey) === 0)
  if (row === undefined) return 'nothing'
  return row.value[1] === 1 ? 'tombstone' : 'value'
}

/** Three replicas that hold the same: what lives, what died a day ago, what died now. */
async function startOld(random: Random): Promise<FakeCluster> {
  const cluster = await FakeCluster.start({ random, nodes: 3 })
  await giveAll(cluster, LIVE, formAt(cluster, 40 * HOUR, 'value'))
  await giveAll(cluster, DEAD, formAt(cluster, 39 * HOUR, 'value'))
  await giveAll(cluster, DEAD, formAt(cluster, 30 * HOUR, 'tombstone'))
  await giveAll(cluster, EXPIRED, formAt(cluster, 30 * HOUR, 'expired'))
  await giveAll(cluster, FRESH, formAt(cluster, 39 * HOUR, 'value'))
  await giveAll(cluster, FRESH, formAt(cluster, HOUR, 'tombstone'))
  return cluster
}

async function purgeAll(cluster: FakeCluster): Promise<void> {
  for (const { repair } of cluster.members) await cluster.settle(repair.purge.round())
  await cluster.pass(500)
}

function assertPurged(cluster: FakeCluster): void {
  for (const member of cluster.members) {
    assert.equal(stateOf(member, DEAD), 'nothing')
    assert.equal(stateOf(member, EXPIRED), 'nothing')
    assert.equal(stateOf(member, LIVE), 'value')
    assert.equal(stateOf(member, FRESH), 'tombstone')
  }
}

/** The check for the dead: no replica may show what was deleted. */
function assertNoneLives(cluster: FakeCluster): void {
  for (const member of cluster.members) assert.notEqual(stateOf(member, DEAD), 'value')
}

async function compareAll(cluster: FakeCluster): Promise<void> {
  for (let pass = 0; pass < 2; pass++) {
    for (const { repair } of cluster.members) await cluster.settle(repair.repairNow().done)
  }
}

function readAt(
  cluster: FakeCluster,
  { reads }: FakeMember,
  key: Uint8Array,
  consistency: Consistency,
): Promise<Uint8Array | undefined> {
  const deadlineMs = cluster.clock.monotonicMs() + 1000
  return cluster.settle(Promise.resolve(reads.get(key, { consistency, deadlineMs })))
}

describe('purging', () => {
  test('deletions go from every replica, a day after they were made, and not before', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    await purgeAll(cluster)
    assertPurged(cluster)
    for (const { marks, repair } of cluster.members) {
      const markMs = marks.markMs(cluster.members[0]!.store.partitioner.partitionOf(DEAD))
      assert.ok(markMs <= cluster.clock.wallMs() - PURGE_GRACE_MS && markMs > 0)
      assert.equal(repair.purge.obstacle, undefined)
    }
    await compareAll(cluster)
    assertPurged(cluster)
    cluster.clock.advance(25 * HOUR)
    await purgeAll(cluster)
    for (const member of cluster.members) assert.equal(stateOf(member, FRESH), 'nothing')
    assert.ok(cluster.members.every(({ engine }) => engine.openSnapshots === 0))
  })

  test('not while somebody is away, owes something old, or has missed the deletion', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    cluster.crash(c)
    for (const { repair } of [a, b]) await cluster.settle(repair.purge.round())
    assert.match(a.repair.purge.obstacle ?? '', /cannot be reached/)
    // It comes back without the deletion, and with something that it owes.
    const { engineKey } = entryOf(c, DEAD, DEAD)
    c.engine.rows = c.engine.rows.filter(({ key }) => Buffer.compare(key, engineKey) !== 0)
    await cluster.restart(c)
    await c.store.applyStored([entryOf(c, DEAD, formAt(cluster, 39 * HOUR, 'value'))])
    cluster.debtors.add(c.id)
    await purgeAll(cluster)
    assert.ok(cluster.members.some(({ repair }) => /owes/.test(repair.purge.obstacle ?? '')))
    assert.equal(stateOf(a, DEAD), 'tombstone')
    cluster.debtors.clear()
    await purgeAll(cluster)
    assertPurged(cluster)
    assertNoneLives(cluster)
  })

  test('not before all have what one alone had, whoever is asked first', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const [first, second, third] = [...cluster.members].sort((a, b) => (a.id < b.id ? -1 : 1))
    const { partitioner } = first!.store
    const partition = partitioner.partitionOf(DEAD)
    const names = Array.from({ length: 10_000 }, (_, at) => utf8Encode(`other ${at}`))
    const other = names.find(name => partitioner.partitionOf(name) === partition)!
    // Something to purge for all, so that there is a round, and a deletion that only one has.
    await giveAll(cluster, other, formAt(cluster, 30 * HOUR, 'tombstone'))
    const old = formAt(cluster, 39 * HOUR, 'value')
    for (const { engine } of [first!, second!]) {
      const { engineKey } = entryOf(first!, DEAD, old)
      engine.rows = engine.rows.map(row =>
        Buffer.compare(row.key, engineKey) === 0 ? { ...row, value: old.slice() } : row,
      )
    }
    assert.deepEqual([stateOf(first!, DEAD), stateOf(third!, DEAD)], ['value', 'tombstone'])
    await purgeAll(cluster)
    await compareAll(cluster)
    assertNoneLives(cluster)
    assert.equal(stateOf(second!, other), 'nothing')
  })

  test('not by the clock of a leader that is days ahead', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const wallMs = cluster.clock.wallMs.bind(cluster.clock)
    const [leader] = [...cluster.members].sort((a, b) => (a.id < b.id ? -1 : 1))
    const partition = leader!.store.partitioner.partitionOf(FRESH)
    const { request } = cluster.network
    // Whatever it asks for, it means two days later.
    cluster.network.request = (from, to, kind, body, timeoutMs) => {
      if (kind !== PeerMessage.purge) {
        return request.call(cluster.network, from, to, kind, body, timeoutMs)
      }
      const message = decodePurge(body)
      const late = encodePurge({ ...message, timeMs: message.timeMs + 48 * HOUR })
      return request.call(cluster.network, from, to, kind, late, timeoutMs)
    }
    await purgeAll(cluster)
    assert.match(leader!.repair.purge.obstacle ?? '', /set the clocks of both machines/)
    for (const { marks } of cluster.members) {
      assert.ok(marks.markMs(partition) <= wallMs() - PURGE_GRACE_MS)
      assert.ok(marks.confirmedMs(partition) <= wallMs() - PURGE_GRACE_MS)
    }
    for (const member of cluster.members) assert.equal(stateOf(member, FRESH), 'tombstone')
  })

  test('not by a clock of the machine that the other member does not agree with', async t => {
    const random = seededRandom(printSeed(t))
    const { clock, store, versions } = await startFakeNode({ isReplicated: true })
    const options = { holdWalFrom: 'oldest' } as const
    const db = await openEngine(new MemoryFileSystem(), { clock, options })
    const rules = { partitionCount: 16, replicationFactor: 1, virtualNodes: 16 }
    const ring = ringOf(random, { ...rules, members: [{}, {}] })
    const [self, other] = ring.members.map(({ nodeId }) => nodeId)
    const network = new FakeNetwork({ clock, random })
    const peers = network.join(self!)
    // It keeps the time that both had, and owes nobody anything.
    let setMs = 0
    const others = network.join(other!)
    others.handle(PeerMessage.clock, () => {
      const nowMs = Math.floor(clock.wallMs() - setMs)
      return new ByteWriter(16).uint64(nowMs).uint64(nowMs).written.slice()
    })
    others.handle(PeerMessage.purge, () => Uint8Array.of(0))
    const table = new RingTable(ring)
    const wallClock = new BelievedClock(clock, () => true)
    const opening = ClusterNode.open({
      ...{ peers, liveness: peers, store, log: db, ring: () => table, clock, wallClock, versions },
      ...{ random, logger: silentLogger, path: '/data', isClockKnown: true },
      onNewerEpoch: () => undefined,
      abort: async () => ring,
    })
    const node = await drive(clock, opening)
    network.announce()
    const keys = Array.from({ length: 64 }, (_, number) => utf8Encode(`key ${number}`))
    const own = keys.find(key => table.isOwner(store.partitioner.partitionOf(key), self!))
    const engineKey = store.partitioner.engineKey(own!)
    const version = encodeVersion(clock.wallMs() - HOUR, 0, WRITER)
    await store.applyStored([{ engineKey, stored: encodeTombstone(version) }])
    clock.jumpWall(48 * HOUR)
    setMs = 48 * HOUR
    await drive(clock, node.repair.purge.round())
    assert.equal(node.repair.purge.obstacle, undefined)
    assert.equal(node.repair.purge.advanced, 0)
    wallClock.believe()
    await drive(clock, node.repair.purge.round())
    assert.equal(node.repair.purge.advanced, 1)
    await drive(clock, node.close())
    await drive(clock, db.close())
  })

  test('who misses the last step learns of it by a comparison', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const { request } = cluster.network
    cluster.network.request = (from, to, kind, body, timeoutMs) => {
      const isAdvance = kind === 68 && body[0] === PurgeStep.advance
      if (isAdvance) return Promise.reject(new ProtocolError('the test drops it'))
      return request.call(cluster.network, from, to, kind, body, timeoutMs)
    }
    await purgeAll(cluster)
    cluster.network.request = request
    const states = cluster.members.map(member => stateOf(member, DEAD))
    assert.equal(states.filter(state => state === 'tombstone').length, 2)
    assert.equal(states.filter(state => state === 'nothing').length, 1)
    await compareAll(cluster)
    await cluster.pass(500)
    assertPurged(cluster)
  })

  test('nothing older than the mark comes late, by a write, a read or a comparison', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const old = formAt(cluster, 39 * HOUR, 'value')
    await purgeAll(cluster)
    const [a, , c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    assert.deepEqual(await a.marks.fence([entryOf(a, DEAD, old)]), [])
    const fresh = entryOf(a, DEAD, formAt(cluster, 0, 'value'))
    assert.deepEqual(await a.marks.fence([fresh]), [fresh])
    const live = entryOf(a, LIVE, formAt(cluster, 41 * HOUR, 'value'))
    assert.deepEqual(await a.marks.fence([live]), [live])
    const entries = [entryOf(c, DEAD, old)]
    const { epoch } = a.reads.sets
    const partition = a.store.partitioner.partitionOf(DEAD)
    const bodies = new Map([
      [PeerMessage.readRepair, encodeRepair({ epoch, markMs: 0, entries })],
      [PeerMessage.treePush, encodePush({ epoch, partition, markMs: 0, entries })],
    ])
    for (const [kind, body] of bodies) {
      await cluster.settle(a.peers.request(c.id, 'data', kind, body, 1000))
      assert.equal(stateOf(c, DEAD), 'nothing')
    }
    assert.equal(c.marks.refused, 2)
  })

  test('a node whose disk is an old copy takes from the others before it gives', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    const old = formAt(cluster, 39 * HOUR, 'value')
    const rows = c.engine.rows
    await purgeAll(cluster)
    cluster.crash(c)
    c.engine.rows = rows
    await cluster.restart(c)
    const { engineKey } = entryOf(c, DEAD, old)
    c.engine.rows = rows.map(row =>
      Buffer.compare(row.key, engineKey) === 0 ? { ...row, value: old } : row,
    )
    const only = utf8Encode('written since, and only there')
    await c.store.applyStored([entryOf(c, only, formAt(cluster, 0, 'value'))])
    assert.equal(stateOf(c, DEAD), 'value')
    assert.equal(await readAt(cluster, a, DEAD, 'quorum'), undefined)
    await assert.rejects(readAt(cluster, a, DEAD, 'all'), UnavailableError)
    await compareAll(cluster)
    await cluster.pass(500)
    assertPurged(cluster)
    for (const member of [a, b, c]) assert.equal(stateOf(member, only), 'value')
    assert.equal(c.marks.behindCount, 0)
  })

  for (const asked of ['another', 'itself', 'another that lost the key'] as const) {
    test(`an old copy shows and gives nothing that was purged since, when ${asked} is asked`, async t => {
      const cluster = await startOld(seededRandom(printSeed(t)))
      const [a, , c] = cluster.members as [FakeMember, FakeMember, FakeMember]
      // Of this mark is the image, and what lives is older than it.
      await purgeAll(cluster)
      const image = c.engine.rows
      const partition = c.store.partitioner.partitionOf(LIVE)
      const markMs = c.marks.markMs(partition)
      await giveAll(cluster, LIVE, formAt(cluster, 0, 'tombstone'))
      cluster.clock.advance(26 * HOUR)
      await purgeAll(cluster)
      assert.deepEqual(
        cluster.members.map(member => stateOf(member, LIVE)),
        ['nothing', 'nothing', 'nothing'],
      )
      cluster.crash(c)
      c.engine.rows = image
      await cluster.restart(c)
      assert.deepEqual([stateOf(c, LIVE), c.marks.markMs(partition)], ['value', markMs])
      if (asked === 'another that lost the key') {
        const { engineKey } = entryOf(a, LIVE, LIVE)
        const { readStored } = a.store
        a.store.readStored = key =>
          Buffer.compare(key, engineKey) === 0 ? Uint8Array.of(9) : readStored.call(a.store, key)
      }
      const reader = asked === 'itself' ? c : a
      for (let reads = 0; reads < 3; reads++) {
        // Where two of three have no say there is no answer.
        const read = readAt(cluster, reader, LIVE, 'quorum')
        if (asked === 'another that lost the key') await assert.rejects(read, UnavailableError)
        else assert.equal(await read, undefined)
      }
      assert.ok(c.marks.isBehind(partition), 'no quorum relies on it')
      assert.throws(() => c.marks.guard([partition]), UnavailableError)
      assert.equal(await readAt(cluster, c, LIVE, 'one'), undefined)
      const { id } = c
      for (const other of cluster.members) if (other !== c) cluster.network.cut(id, other.id)
      await assert.rejects(readAt(cluster, c, LIVE, 'one'), UnavailableError)
      cluster.network.mend()
      await compareAll(cluster)
      await cluster.pass(500)
      for (const member of cluster.members) assert.equal(stateOf(member, LIVE), 'nothing')
      assert.equal(c.marks.behindCount, 0)
    })
  }

  test('what was taken from a copy that lacked something is not in its tree any more', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const [, , c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    await purgeAll(cluster)
    const old = formAt(cluster, 39 * HOUR, 'value')
    await c.store.applyStored([entryOf(c, DEAD, old)])
    await c.marks.damaged.add([c.store.partitioner.partitionOf(DEAD)])
    const differed = () => cluster.members.map(({ repair }) => repair.exchange.figures.differed)
    await compareAll(cluster)
    assertPurged(cluster)
    const before = differed()
    await compareAll(cluster)
    assert.deepEqual(differed(), before)
  })

  test('a read makes who missed the last step follow, and misses nothing meanwhile', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const [a, b] = cluster.members as [FakeMember, FakeMember]
    const partition = a.store.partitioner.partitionOf(LIVE)
    const timeMs = cluster.clock.wallMs() - 26 * HOUR
    for (const { marks } of cluster.members) await marks.confirm([partition], timeMs)
    await b.marks.advance([partition], timeMs)
    assert.ok((await readAt(cluster, a, LIVE, 'all')) !== undefined)
    for (const { marks } of cluster.members) assert.equal(marks.markMs(partition), timeMs)
    assert.equal(a.reads.figures.repaired, 0)
  })

  test('a deletion that is purged while it is read is not missed', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    // Another one leads the purging, and so knows of the deletion.
    const [a, ...others] = [...cluster.members].sort((x, y) => (x.id < y.id ? 1 : -1))
    await giveAll(cluster, DEAD, formAt(cluster, 39 * HOUR, 'value'))
    const deletion = formAt(cluster, 30 * HOUR, 'tombstone')
    for (const { store } of others) await store.applyStored([entryOf(a!, DEAD, deletion)])
    const { request } = cluster.network
    let purges = 0
    cluster.network.request = async (from, to, kind, body, timeoutMs) => {
      const copy = body.slice()
      if (kind === PeerMessage.readStored && purges++ === 0) {
        for (const { repair } of cluster.members) await repair.purge.round()
        await new Promise<void>(resolve => cluster.clock.setTimer(200, resolve))
      }
      return request.call(cluster.network, from, to, kind, copy, timeoutMs)
    }
    assert.equal(await readAt(cluster, a!, DEAD, 'quorum'), undefined)
    assert.equal(purges, 1)
    for (const member of cluster.members) assert.equal(stateOf(member, DEAD), 'nothing')
  })

  test('what comes late is not held against a deletion that is about to go', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const [a] = cluster.members as [FakeMember]
    const old = entryOf(a, DEAD, formAt(cluster, 39 * HOUR, 'value'))
    const partition = a.store.partitioner.partitionOf(DEAD)
    const advanced = a.marks.advance([partition], cluster.clock.wallMs() - 26 * HOUR)
    await cluster.settle(advanced)
    assert.equal(stateOf(a, DEAD), 'tombstone', 'not swept yet')
    assert.deepEqual(await a.marks.fence([old]), [])
  })

  test('a lost copy of what lives is healed, however old it is', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    await purgeAll(cluster)
    const [a] = cluster.members as [FakeMember]
    const { engineKey } = entryOf(a, LIVE, LIVE)
    const isOther = (key: Uint8Array) => Buffer.compare(key, engineKey) !== 0
    a.engine.rows = a.engine.rows.filter(({ key }) => isOther(key))
    const deadlineMs = cluster.clock.monotonicMs() + 1000
    const terms = { consistency: 'quorum', deadlineMs } as const
    const value = await cluster.settle(Promise.resolve(a.reads.get(LIVE, terms)))
    assert.ok(value !== undefined)
    assert.equal(stateOf(a, LIVE), 'value')
    a.engine.rows = a.engine.rows.filter(({ key }) => isOther(key))
    a.store.writeCounts.add([Buffer.from(engineKey).toString('latin1')])
    await compareAll(cluster)
    assert.equal(stateOf(a, LIVE), 'value')
  })

  test('marks survive a restart, and only grow', async t => {
    const cluster = await startOld(seededRandom(printSeed(t)))
    const [a] = cluster.members as [FakeMember]
    await a.marks.confirm([3, 5], 1000)
    await a.marks.advance([5], 900)
    await a.marks.confirm([5], 800)
    const again = await PurgeMarks.open(a.store, '/data')
    assert.deepEqual([again.markMs(3), again.confirmedMs(3)], [0, 1000])
    assert.deepEqual([again.markMs(5), again.confirmedMs(5)], [900, 1000])
    await again.meet(3, 1000)
    assert.equal(again.markMs(3), 1000)
    await again.meet(3, 1001)
    assert.ok(again.isBehind(3))
  })

  test('messages: what was encoded is decoded, what is none is refused', () => {
    const message = { step: PurgeStep.confirm, epoch: 3, timeMs: 12_345, partitions: [1, 500] }
    const bytes = encodePurge(message).slice()
    assert.deepEqual(decodePurge(bytes), message)
    for (let size = 0; size < bytes.length; size++) {
      assert.throws(() => decodePurge(bytes.subarray(0, size)), ProtocolError)
    }
  })

  describe('the check for the dead finds', () => {
    test('a deletion that is purged before everybody has it', async t => {
      const cluster = await startOld(seededRandom(printSeed(t)))
      const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
      const partition = a.store.partitioner.partitionOf(DEAD)
      const old = entryOf(c, DEAD, formAt(cluster, 39 * HOUR, 'value'))
      c.engine.rows = c.engine.rows.map(row =>
        Buffer.compare(row.key, old.engineKey) === 0 ? { ...row, value: old.stored } : row,
      )
      // Planted: purged by two alone, and without a mark that would refuse what is older.
      for (const { store, engine } of [a, b]) {
        const row = engine.rows.find(({ key }) => Buffer.compare(key, old.engineKey) === 0)!
        await store.purge([{ engineKey: row.key, stored: row.value }])
        store.writeCounts.add([Buffer.from(row.key).toString('latin1')])
      }
      assert.equal(a.marks.markMs(partition), 0)
      await compareAll(cluster)
      assert.throws(() => assertNoneLives(cluster))
    })

    test('a read repair that writes the older value back', async t => {
      const cluster = await startOld(seededRandom(printSeed(t)))
      const [a, , c] = cluster.members as [FakeMember, FakeMember, FakeMember]
      const old = entryOf(c, DEAD, formAt(cluster, 39 * HOUR, 'value'))
      c.engine.rows = c.engine.rows.filter(({ key }) => Buffer.compare(key, old.engineKey) !== 0)
      // Planted: what is applied is the first that was heard of, not the newest.
      const { applyStored } = c.store
      c.store.applyStored = entries =>
        applyStored.call(
          c.store,
          entries.map(entry =>
            Buffer.compare(entry.engineKey, old.engineKey) === 0 ? old : entry,
          ),
        )
      const terms = { consistency: 'all', deadlineMs: cluster.clock.monotonicMs() + 1000 } as const
      await cluster.settle(Promise.resolve(a.reads.get(DEAD, terms)))
      assert.throws(() => assertNoneLives(cluster))
    })

    test('a tie that is broken by who comes first', () => {
      const version = encodeVersion(1_800_000_000_000, 0, WRITER)
      const forms = [
        encodeValue(version, utf8Encode('a'), 0),
        encodeValue(version, utf8Encode('b'), 0),
        encodeTombstone(version),
      ]
      const converge = (isLater: (a: Uint8Array, b: Uint8Array) => boolean): Set<string> => {
        const orders = [
          [0, 1, 2],
          [2, 1, 0],
          [1, 2, 0],
        ]
        const merged = orders.map(order =>
          order.map(at => forms[at]!).reduce((a, b) => (isLater(b, a) ? b : a)),
        )
        return new Set(merged.map(form => Buffer.from(form).toString('hex')))
      }
      assert.equal(converge((a, b) => compareStored(a, b) > 0).size, 1)
      const byVersionAlone = (a: Uint8Array, b: Uint8Array): boolean =>
        Buffer.compare(a.subarray(2, 18), b.subarray(2, 18)) > 0
      assert.ok(converge(byVersionAlone).size > 1)
    })
  })
})
