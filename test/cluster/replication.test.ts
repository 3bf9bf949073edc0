// Goal: every write that was acknowledged reaches every replica, with nothing but duties and hints
// to bring it there, whatever is lost and restarted meanwhile.
// Method: real engines on simulated disks; the cases in which a duty is easily forgotten.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { delay } from '../../src/clock.ts'
import { PeerMessage } from '../../src/cluster/peers.ts'
import { beginLeave, finish, moveReads } from '../../src/cluster/ring-change.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import type { StoreWrite } from '../../src/cluster/store-operation.ts'
import { CorruptionError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { printSeed } from '../support/seed.ts'
import { type RunningMember, WriteCluster, type WriteMember } from '../support/write-cluster.ts'
import { ownEverything, type WritePlant } from '../support/write-plants.ts'

function put(name: string, value = `value of ${name}`): StoreWrite {
  return { type: 'put', key: utf8Encode(name), value: utf8Encode(value), ttlMs: 0 }
}

async function assertEverywhere(cluster: WriteCluster, names: Iterable<string>): Promise<void> {
  for (const name of names) {
    const key = utf8Encode(name)
    const owners = cluster.owners(key)
    const forms = await Promise.all(owners.map(owner => cluster.formAt(owner, key)))
    assert.ok(forms[0] !== undefined, `${name} is there`)
    assert.deepEqual(new Set(forms).size, 1, `${name} is the same on its ${owners.length} replicas`)
  }
}

describe('replication', () => {
  test('brings a write to every replica at once', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const names = Array.from({ length: 50 }, (_, index) => `k${index}`)
    for (const name of names) await cluster.settle(cluster.write(cluster.members[0]!, [put(name)]))
    const holds = () => cluster.members.map(({ running }) => running!.db.stats().walHolds.count)
    assert.equal(holds()[0], 1, 'what is owed holds the log')
    await cluster.pass(600)
    await assertEverywhere(cluster, names)
    assert.deepEqual(holds(), [0, 0, 0], 'nothing is owed any more')
    await cluster.stopAll()
  })

  test('owes nothing and holds nothing on a ring of one', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 1 })
    const [only] = cluster.members as [WriteMember]
    const { clock } = cluster
    await cluster.pass(7000)
    for (const consistency of ['one', 'quorum', 'all'] as const) {
      await cluster.settle(cluster.write(only, [put(consistency)], consistency))
    }
    assert.equal(only.running!.db.stats().walHolds.count, 0)
    assert.deepEqual(only.running!.writes.figures().peers, {})
    const logged: unknown[] = []
    const options = { onLogData: (batch: unknown) => void logged.push(batch) }
    const killed = await openEngine(only.disk.processCrashClone(), { clock, options })
    assert.deepEqual(logged, [])
    await drive(clock, killed.close())
    await cluster.stopAll()
  })

  test('of a coordinator that loses power right after acknowledging at one', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 10; round++) {
      const cluster = await WriteCluster.start({ random, nodes: 3 })
      const [first, ...others] = cluster.members as [WriteMember, ...WriteMember[]]
      for (const other of others) cluster.network.pause(other.id)
      const names = Array.from({ length: 1 + random.below(40) }, (_, index) => `k${index}`)
      await Promise.all(names.map(name => cluster.settle(cluster.write(first, [put(name)]))))
      await cluster.crash(first)
      cluster.network.mend()
      await cluster.pass(1000)
      await cluster.start(first)
      await cluster.pass(7000)
      await assertEverywhere(cluster, names)
      await cluster.stopAll()
    }
  })

  test('of a hint that was replayed while its key was written again', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 2 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    const { clock } = cluster
    cluster.network.cut(first.id, second.id)
    await cluster.settle(cluster.write(first, [put('k', 'old')]))
    cluster.network.mend()
    const { handlers } = second.running!.peers
    const hints = handlers.get(PeerMessage.hints)!
    const replicate = handlers.get(PeerMessage.replicate)!
    let replays = 0
    handlers.set(PeerMessage.hints, async (body, context) => {
      const copy = body.slice()
      if (replays++ === 0) {
        // It hangs for what clients wait for, so that the new form becomes a hint meanwhile.
        handlers.set(PeerMessage.replicate, () => new Promise(() => undefined))
        const written = cluster.write(first, [put('k', 'new')])
        await delay(clock, 2500)
        await written
        assert.equal(first.running!.writes.figures().peers[second.id]!.isSendable, false)
      }
      return hints(copy, context)
    })
    while (replays === 0) await cluster.pass(100)
    await cluster.pass(3000)
    handlers.set(PeerMessage.replicate, replicate)
    await cluster.pass(20_000)
    await assertEverywhere(cluster, ['k'])
    await cluster.stopAll()
  })

  test('of a hint that was replayed while a newer form of its key was not visible yet', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 2 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    cluster.network.cut(first.id, second.id)
    await cluster.settle(cluster.write(first, [put('k', 'old')]))
    cluster.network.mend()
    const { db } = first.running!
    const readRange = db.readRange.bind(db)
    let written: Promise<void> | undefined
    db.readRange = range => {
      const found = readRange(range)
      const isHints = range.lt?.[0] === 0xff && range.lt[2] === 1
      if (!isHints || written !== undefined || found instanceof Promise) return found
      if (found.keys.length === 0) return found
      // The page with the old hint is on its way; the new one is the same record.
      cluster.network.cut(first.id, second.id)
      written = cluster.write(first, [put('k', 'new')])
      cluster.network.mend()
      return found
    }
    while (written === undefined) await cluster.pass(100)
    await cluster.settle(written)
    await cluster.pass(20_000)
    await assertEverywhere(cluster, ['k'])
    await cluster.stopAll()
  })

  test('of a hint that takes longer to be durable than its peer is away', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 2 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    const { disk } = first
    const enterAsync = disk.enterAsync.bind(disk)
    let syncMs = 4000
    disk.enterAsync = async (kind, path, begin) => {
      if (kind === 'sync') await delay(cluster.clock, syncMs)
      return enterAsync(kind, path, begin)
    }
    cluster.network.cut(first.id, second.id)
    const written = cluster.write(first, [put('k')])
    await cluster.pass(50)
    cluster.network.mend()
    await cluster.settle(written)
    syncMs = 0
    await cluster.pass(20_000)
    await assertEverywhere(cluster, ['k'])
    assert.equal(first.running!.writes.figures().peers[second.id]!.hintCount, 0)
    await cluster.stopAll()
  })

  test('of a coordinator that sent a write out and died before it had it itself', async t => {
    const random = seededRandom(printSeed(t))
    for (const count of [1, 3, 600]) {
      const cluster = await WriteCluster.start({ random, nodes: 3 })
      const [first, second, third] = cluster.members as [WriteMember, WriteMember, WriteMember]
      const names = Array.from({ length: count }, (_, index) => `k${index}`)
      const version = encodeVersion(
        Math.floor(cluster.clock.wallMs()),
        1,
        new Uint8Array(8).fill(7),
      )
      const write = (member: WriteMember) =>
        cluster.write(
          member,
          names.map(name => put(name)),
          'one',
          version,
        )
      cluster.network.pause(third.id)
      const disk = first.disk.crashClone(random, { keep: 'random' })
      write(first).catch(() => undefined)
      await cluster.pass(100, 5)
      await cluster.crash(first)
      first.disk = disk
      assert.ok((await cluster.formAt(second, utf8Encode('k0'))) !== undefined, 'the other has it')
      // The client, which has no answer, asks that other one.
      await cluster.settle(write(second))
      cluster.network.mend()
      await cluster.start(first)
      await cluster.pass(20_000)
      await assertEverywhere(cluster, names)
      await cluster.stopAll()
    }
  })

  test('of a write that lost against one that its coordinator has lost', async t => {
    const random = seededRandom(printSeed(t))
    for (const count of [1, 600]) {
      const cluster = await WriteCluster.start({ random, nodes: 3 })
      const [first, second, third] = cluster.members as [WriteMember, WriteMember, WriteMember]
      const versionAt = (counter: number) =>
        encodeVersion(Math.floor(cluster.clock.wallMs()), counter, new Uint8Array(8).fill(7))
      const [earlier, later] = [versionAt(1), versionAt(2)]
      const names = Array.from({ length: count }, (_, index) => `k${index}`)
      const puts = (value: string) => names.map(name => put(name, value))
      cluster.network.pause(third.id)
      const disk = first.disk.crashClone(random, { keep: 'random' })
      cluster.write(first, puts('later'), 'one', later).catch(() => undefined)
      await cluster.pass(100, 5)
      await cluster.crash(first)
      first.disk = disk
      await cluster.settle(cluster.write(second, puts('earlier'), 'one', earlier))
      cluster.network.mend()
      await cluster.start(first)
      await cluster.pass(20_000)
      await assertEverywhere(cluster, names)
      await cluster.stopAll()
    }
  })

  test('of what is damaged here is left to others, and holds up nothing', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 2 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    cluster.network.cut(first.id, second.id)
    const names = ['damaged', 'torn', 'well']
    for (const name of names) await cluster.settle(cluster.write(first, [put(name)]))
    const { store, writes } = first.running!
    const read = store.readStored.bind(store)
    store.readStored = key => {
      const name = Buffer.from(key.subarray(2)).toString()
      if (name === 'torn') return Uint8Array.of(1, 2, 3)
      if (name !== 'damaged') return read(key)
      throw new CorruptionError({ path: '/db/000001.sst', offset: 0 }, 'block checksum mismatch')
    }
    cluster.network.mend()
    await cluster.pass(8000)
    store.readStored = read
    await assertEverywhere(cluster, ['well'])
    const marked = writes.dirtyPartitions(second.id)
    for (const name of ['damaged', 'torn']) {
      assert.equal(await cluster.formAt(second, utf8Encode(name)), undefined)
      assert.ok(marked.includes(store.partitioner.partitionOf(utf8Encode(name))), name)
    }
    assert.equal(writes.figures().peers[second.id]!.hintBytes, 0)
    await cluster.stopAll()
  })

  test('of a hint that the peer does not take in time holds up no other', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 2 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    const names = Array.from({ length: 60 }, (_, index) => `k${index}`)
    const large = names.splice(20, 2)
    cluster.network.cut(first.id, second.id)
    for (const name of names) await cluster.settle(cluster.write(first, [put(name)]))
    for (const name of large) {
      await cluster.settle(cluster.write(first, [put(name, 'x'.repeat(300_000))]))
    }
    const { handlers } = second.running!.peers
    const hints = handlers.get(PeerMessage.hints)!
    let leastMs = Number.POSITIVE_INFINITY
    handlers.set(PeerMessage.hints, (body, context) => {
      if (body.length < 300_000) return hints(body, context)
      leastMs = Math.min(leastMs, context.deadlineMs - cluster.clock.monotonicMs())
      return new Promise(() => undefined)
    })
    cluster.network.mend()
    await cluster.pass(13_000)
    await assertEverywhere(cluster, names)
    assert.ok(leastMs > 5060, `${leastMs}: more time for what is large`)
    assert.equal(first.running!.writes.figures().peers[second.id]!.hintCount, 2)
    handlers.set(PeerMessage.hints, hints)
    await cluster.pass(32_000)
    await assertEverywhere(cluster, large)
    assert.equal(first.running!.writes.figures().peers[second.id]!.hintCount, 0)
    await cluster.stopAll()
  })

  test('marks what is too much for hints, until somebody has compared it', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await WriteCluster.start({ random, nodes: 2, hintBytesMax: 300 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    await cluster.stop(second)
    const names = Array.from({ length: 60 }, (_, index) => `k${index}`)
    for (const name of names) await cluster.settle(cluster.write(first, [put(name)]))
    const long = 'l'.repeat(65_533)
    await cluster.settle(cluster.write(first, [put(long)]))
    await cluster.crash(first)
    await cluster.start(first)
    await cluster.start(second)
    await cluster.pass(10_000)
    const { writes } = first.running!
    const marked = new Set(writes.dirtyPartitions(second.id))
    const partitionOf = (name: string) =>
      first.running!.store.partitioner.partitionOf(utf8Encode(name))
    let missing = 0
    for (const name of [...names, long]) {
      if ((await cluster.formAt(second, utf8Encode(name))) !== undefined) continue
      missing++
      assert.ok(marked.has(partitionOf(name)), name)
    }
    assert.ok(missing > 0 && missing < names.length, `${missing} of ${names.length}`)
    for (const partition of marked) {
      await cluster.settle(writes.replication.clearDirty(second.id, partition))
    }
    await cluster.stop(first)
    await cluster.start(first)
    assert.deepEqual(first.running!.writes.dirtyPartitions(second.id), [])
    await cluster.stopAll()
  })

  /** Writes more than the log may hold, at once. */
  async function overfillLog(cluster: WriteCluster, member: WriteMember, name: string) {
    const names = Array.from({ length: 60 }, (_, index) => `${name}${index}`)
    const writes = names.map(key => cluster.write(member, [put(key, 'v'.repeat(1000))]))
    await cluster.settle(Promise.all(writes))
    return names
  }

  const heldLittle = { engine: { heldWalSizeMax: 10_000 } }

  test('marks everything when the log that was held for it is gone after a crash', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await WriteCluster.start({ random, nodes: 2, ...heldLittle })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    const { handlers } = second.running!.peers
    handlers.set(PeerMessage.replicate, () => new Promise(() => undefined))
    const { db } = first.running!
    const names: string[] = []
    while (db.stats().walHolds.broken === 0 && names.length < 1200) {
      names.push(...(await overfillLog(cluster, first, `${names.length}-`)))
    }
    // What was given up goes from the disk, and hints do not take its place yet.
    await cluster.pass(20, 1)
    await cluster.kill(first)
    await cluster.kill(second)
    await cluster.start(second)
    await cluster.start(first)
    await cluster.pass(10_000)
    const { store, writes } = first.running!
    const marked = new Set(writes.dirtyPartitions(second.id))
    let missing = 0
    for (const key of names.map(utf8Encode)) {
      if ((await cluster.formAt(second, key)) !== undefined) continue
      missing++
      assert.ok(marked.has(store.partitioner.partitionOf(key)), 'a mark stands for what is missing')
    }
    assert.ok(missing > 0, 'the log does not bring all of it')
    await cluster.stopAll()
  })

  test('marks nothing when what is gone of the log was owed to nobody', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await WriteCluster.start({ random, nodes: 2, ...heldLittle })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    const restart = async () => {
      for (const [member, other] of [
        [first, second],
        [second, first],
      ] as const) {
        await cluster.kill(member)
        await cluster.start(member)
        assert.deepEqual(member.running!.writes.dirtyPartitions(other.id), [])
      }
    }
    // Both have owed something. Then one of them only takes what the other sends.
    await cluster.settle(cluster.write(second, [put('k')]))
    for (const name of ['a', 'b', 'c']) {
      await overfillLog(cluster, first, name)
      await cluster.pass(600)
      await drive(cluster.clock, first.running!.db.compact())
      await drive(cluster.clock, second.running!.db.compact())
    }
    await restart()
    await cluster.settle(cluster.write(first, [put('k')]))
    await restart()
    await cluster.stopAll()
  })
})

/** A cluster in which one member leaves, and a key that another one owns in its place. */
async function leavingCluster(random: Random, plant?: WritePlant) {
  const cluster = await WriteCluster.start({
    ...{ random, nodes: 4, replicationFactor: 2 },
    ...(plant === undefined ? {} : { plant }),
  })
  const stable = cluster.table.ring
  for (const leaving of cluster.members) {
    const changing = beginLeave(stable, leaving.id)
    const after = new RingTable(finish(moveReads(changing)))
    for (let count = 0; count < 200; count++) {
      const name = `k${count}`
      const key = utf8Encode(name)
      const owners = cluster.owners(key)
      const coordinator = owners.find(owner => owner !== leaving)
      if (!owners.includes(leaving) || coordinator === undefined) continue
      const partition = first(cluster).store.partitioner.partitionOf(key)
      const heir = cluster.members.find(
        member => !owners.includes(member) && after.isOwner(partition, member.id),
      )
      if (heir === undefined) continue
      return { cluster, name, coordinator, leaving, heir, changing, after: after.ring }
    }
  }
  throw new assert.AssertionError({ message: 'some member owns something' })
}

function first(cluster: WriteCluster): RunningMember {
  return cluster.members[0]!.running!
}

describe('when owners change', () => {
  /** Whether the new owner gets what the old one was owed by a hint. */
  async function isRerouted(random: Random, plant?: WritePlant): Promise<boolean> {
    const found = await leavingCluster(random, plant)
    const { cluster, name, coordinator, leaving, heir, changing, after } = found
    cluster.network.cut(coordinator.id, leaving.id)
    await cluster.settle(cluster.write(coordinator, [put(name)]))
    await cluster.changeRing(changing)
    await cluster.changeRing(after)
    if (plant === 'wrongOwner') {
      for (const { running } of cluster.members) {
        ownEverything(running!.writes.replication.table, leaving.id)
      }
    }
    cluster.network.mend()
    await cluster.pass(15_000)
    const isThere = (await cluster.formAt(heir, utf8Encode(name))) !== undefined
    await cluster.stopAll()
    return isThere
  }

  test('a hint goes to the present owner', async t => {
    assert.equal(await isRerouted(seededRandom(printSeed(t))), true)
  })

  test('a hint that goes to the wrong owner is found', async t => {
    assert.equal(await isRerouted(seededRandom(printSeed(t)), 'wrongOwner'), false)
  })

  /** Whether the new owner gets what a coordinator wrote by the old ring. */
  async function isOwedByNewRing(random: Random, plant?: WritePlant): Promise<boolean> {
    const found = await leavingCluster(random, plant)
    const { cluster, name, coordinator, heir, changing } = found
    const others = cluster.members.filter(member => member !== coordinator)
    await cluster.changeRing(changing, others)
    await cluster.settle(cluster.write(coordinator, [put(name)]))
    await cluster.pass(300)
    assert.equal(cluster.newerEpochs.includes(changing.epoch), plant === undefined, 'it is told')
    await cluster.changeRing(changing)
    await cluster.pass(8000)
    const isThere = (await cluster.formAt(heir, utf8Encode(name))) !== undefined
    await cluster.stopAll()
    return isThere
  }

  test('a write by the old ring reaches the new owner', async t => {
    assert.equal(await isOwedByNewRing(seededRandom(printSeed(t))), true)
  })

  test('a replica that takes what a stale sender sends is found', async t => {
    assert.equal(await isOwedByNewRing(seededRandom(printSeed(t)), 'staleEpoch'), false)
  })

  test('a duty from before a restart is owed to the new owner', async t => {
    const found = await leavingCluster(seededRandom(printSeed(t)))
    const { cluster, name, coordinator, leaving, heir, changing } = found
    cluster.network.pause(leaving.id)
    await cluster.settle(cluster.write(coordinator, [put(name)]))
    await cluster.crash(coordinator)
    await cluster.changeRing(changing)
    cluster.network.mend()
    await cluster.start(coordinator)
    await cluster.pass(8000)
    for (const member of [coordinator, leaving, heir]) {
      assert.ok((await cluster.formAt(member, utf8Encode(name))) !== undefined)
    }
    await cluster.stopAll()
  })
})
