// Goal: a client is told what is known of its write: it is there, it is nowhere, or nobody knows;
// and a node that alone has what it acknowledged has little of it.
// Method: real engines on simulated disks, links that are cut and nodes that hang.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { delay } from '../../src/clock.ts'
import { REPLICAS_AHEAD_MAX_MS } from '../../src/cluster/hybrid-logical-clock.ts'
import { LARGE_COUNT } from '../../src/cluster/partitioned-store.ts'
import { PeerMessage } from '../../src/cluster/peers.ts'
import { encodeAnswer } from '../../src/cluster/replica-message.ts'
import type { StoreWrite } from '../../src/cluster/store-operation.ts'
import { KvError, OverloadedError, UnavailableError } from '../../src/errors.ts'
import type { Consistency } from '../../src/key-value-store.ts'
import { seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { printSeed } from '../support/seed.ts'
import { WriteCluster, type WriteMember } from '../support/write-cluster.ts'

const WRITER = new Uint8Array(8).fill(3)

function put(name: string, size = 10): StoreWrite {
  return { type: 'put', key: utf8Encode(name), value: new Uint8Array(size).fill(7), ttlMs: 0 }
}

async function failure(writing: Promise<void>): Promise<KvError> {
  try {
    await writing
  } catch (error) {
    assert.ok(error instanceof KvError, String(error))
    return error
  }
  throw new assert.AssertionError({ message: 'the write should fail' })
}

/** How many of the owners have something under the key. */
async function copies(cluster: WriteCluster, name: string): Promise<number> {
  const key = utf8Encode(name)
  const running = cluster.owners(key).filter(owner => owner.running !== undefined)
  const forms = await Promise.all(running.map(owner => cluster.formAt(owner, key)))
  return forms.filter(form => form !== undefined).length
}

function others(cluster: WriteCluster, member: WriteMember): WriteMember[] {
  return cluster.members.filter(other => other !== member)
}

describe('a write', () => {
  test('is acknowledged when as many replicas have it as were asked for', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    const least: Record<Consistency, number> = { one: 1, quorum: 2, all: 3 }
    for (const consistency of ['one', 'quorum', 'all'] as const) {
      await cluster.settle(cluster.write(first, [put(consistency)], consistency))
      assert.ok((await copies(cluster, consistency)) >= least[consistency])
    }
    cluster.network.cut(first.id, second.id)
    await cluster.settle(cluster.write(first, [put('quorum of two')], 'quorum'))
    assert.equal(await copies(cluster, 'quorum of two'), 2)
    await cluster.stopAll()
  })

  test('counts at quorum once it is fsynced, whatever durability it asks for', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await WriteCluster.start({ random, nodes: 3 })
    const [first, , third] = cluster.members as [WriteMember, WriteMember, WriteMember]
    for (const durability of ['sync', 'interval', 'none'] as const) {
      // The clock's mark is fsynced, and so all before it: not with the next write any more.
      await cluster.settle(cluster.write(first, [put('before')], 'all'))
      cluster.network.pause(third.id)
      const deadlineMs = cluster.clock.monotonicMs() + 3000
      const terms = { consistency: 'quorum', deadlineMs, durability, version: undefined } as const
      await cluster.settle(first.running!.writes.batch([put(durability)], terms))
      await cluster.crash(first, { keep: 'nothing' })
      cluster.network.mend()
      await cluster.start(first)
      assert.ok(await cluster.formAt(first, utf8Encode(durability)), durability)
    }
    await cluster.stopAll()
  })

  test('of a node alone is fsynced at quorum and all, whatever durability it asks for', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 1 })
    const [only] = cluster.members as [WriteMember]
    for (const consistency of ['quorum', 'all'] as const) {
      for (const durability of ['interval', 'none'] as const) {
        await cluster.settle(cluster.write(only, [put('before')]))
        const deadlineMs = cluster.clock.monotonicMs() + 3000
        const terms = { consistency, deadlineMs, durability, version: undefined }
        const key = `${consistency} ${durability}`
        await cluster.settle(only.running!.writes.batch([put(key)], terms))
        await cluster.crash(only, { keep: 'nothing' })
        await cluster.start(only)
        assert.ok(await cluster.formAt(only, utf8Encode(key)), key)
      }
    }
    await cluster.stopAll()
  })

  test('at quorum is given up when nobody waits, as a door says that it is so', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [first] = cluster.members as [WriteMember]
    const many = Array.from({ length: LARGE_COUNT + 1 }, (_, at) => put(`many ${at}`))
    /** Calls of the doors are no plain objects. */
    class Call {
      readonly consistency = 'quorum'
      readonly deadlineMs = cluster.clock.monotonicMs() + 3000
      readonly durability = undefined
      readonly version = undefined
      get cancelled(): boolean {
        return true
      }
    }
    const error = await failure(cluster.settle(first.running!.writes.batch(many, new Call())))
    assert.equal(error.code, 'KV_ABORTED')
    await cluster.stopAll()
  })

  test('that cannot reach enough replicas is nowhere', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [first, second, third] = cluster.members as [WriteMember, WriteMember, WriteMember]
    cluster.network.cut(first.id, second.id)
    const beganMs = cluster.clock.monotonicMs()
    const atAll = await failure(cluster.settle(cluster.write(first, [put('all')], 'all')))
    assert.deepEqual([atAll.code, atAll.outcome], ['KV_UNAVAILABLE', 'rejected'])
    cluster.network.cut(first.id, third.id)
    const error = await failure(cluster.settle(cluster.write(first, [put('quorum')], 'quorum')))
    assert.deepEqual([error.code, error.outcome], ['KV_UNAVAILABLE', 'rejected'])
    assert.ok(cluster.clock.monotonicMs() - beganMs < 20, 'at once')
    await cluster.settle(cluster.write(first, [put('one')]))
    cluster.network.mend()
    await cluster.pass(8000)
    assert.deepEqual(
      [await copies(cluster, 'all'), await copies(cluster, 'quorum'), await copies(cluster, 'one')],
      [0, 0, 3],
    )
    await cluster.stopAll()
  })

  test('does not wait for replicas that have fallen silent', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [first, second, third] = cluster.members as [WriteMember, WriteMember, WriteMember]
    for (const { id } of [second, third]) cluster.network.pause(id)
    const late = failure(cluster.write(first, [put('late')], 'quorum'))
    await cluster.pass(200)
    for (const { id } of [second, third]) cluster.network.silence(id)
    const beganMs = cluster.clock.monotonicMs()
    assert.equal((await cluster.settle(late)).outcome, 'unknown')
    const error = await failure(cluster.settle(cluster.write(first, [put('quorum')], 'quorum')))
    assert.deepEqual([error.code, error.outcome], ['KV_UNAVAILABLE', 'rejected'])
    assert.ok(cluster.clock.monotonicMs() - beganMs < 20, 'at once')
    cluster.network.mend()
    await cluster.pass(8000)
    assert.deepEqual([await copies(cluster, 'late'), await copies(cluster, 'quorum')], [3, 0])
    await cluster.stopAll()
  })

  test('is not ordered by a node whose clock is off, and passed on to another one', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await WriteCluster.start({ random, nodes: 3, replicationFactor: 2 })
    const isFirst = (name: string) => cluster.owners(utf8Encode(name)).includes(cluster.members[0]!)
    const names = Array.from({ length: 30 }, (_, index) => `k${index}`)
    const [off] = cluster.members as [WriteMember]
    cluster.clockReady = member => {
      if (member === off) throw new UnavailableError('its clock is off')
      return undefined
    }
    const error = await failure(cluster.settle(cluster.write(off, [put('k')])))
    assert.equal(error.outcome, 'rejected')
    const [, ...well] = cluster.members
    for (const name of names) {
      const outside = well.find(member => !cluster.owners(utf8Encode(name)).includes(member))
      if (outside === undefined || !isFirst(name)) continue
      await cluster.settle(cluster.write(outside, [put(name)]))
    }
    await cluster.pass(1000)
    for (const name of names.filter(isFirst)) assert.equal(await copies(cluster, name), 2, name)
    await cluster.stopAll()
  })

  test('whose replicas hang is unknown, and comes all the same', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [first, ...rest] = cluster.members as [WriteMember, ...WriteMember[]]
    for (const { id } of rest) cluster.network.pause(id)
    const error = await failure(cluster.settle(cluster.write(first, [put('k')], 'quorum')))
    assert.equal(error.outcome, 'unknown', error.message)
    cluster.network.mend()
    await cluster.pass(10_000)
    assert.equal(await copies(cluster, 'k'), 3)
    await cluster.stopAll()
  })

  test('is fast again soon after a replica began to hang', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    cluster.network.pause(second.id)
    for (let count = 0; count < 40; count++) {
      await cluster.settle(cluster.write(first, [put(`early ${count}`)], 'quorum'))
      await cluster.pass(50)
    }
    const { peers } = first.running!.writes.figures()
    assert.equal(peers[second.id]!.isSendable, false)
    assert.equal(peers[second.id]!.pendingBytes, 0)
    assert.ok(peers[second.id]!.hintBytes > 0)
    const error = await failure(cluster.settle(cluster.write(first, [put('all')], 'all')))
    assert.equal(error.outcome, 'rejected')
    cluster.network.mend()
    await cluster.pass(15_000)
    for (let count = 0; count < 40; count++) {
      assert.equal(await copies(cluster, `early ${count}`), 3)
    }
    assert.equal(first.running!.writes.figures().peers[second.id]!.hintBytes, 0)
    await cluster.stopAll()
  })

  test('of a large value reaches a quorum by a narrow link, and small ones beside it', async t => {
    const cluster = await WriteCluster.start({
      ...{ random: seededRandom(printSeed(t)), nodes: 3, bytesPerSecond: 4.5 * 1024 * 1024 },
      engine: { memoryBudget: 64 * 1024 * 1024, memtableSize: 8 * 1024 * 1024 },
    })
    const [first] = cluster.members as [WriteMember]
    const size = 2.5 * 1024 * 1024
    const before = cluster.network.bytes
    const writes = [cluster.write(first, [put('large', size)], 'quorum')]
    for (let index = 0; index < 18; index++) {
      writes.push(cluster.write(first, [put(`small ${index}`)], 'quorum'))
      await cluster.pass(100, 5)
    }
    await cluster.settle(Promise.all(writes))
    assert.equal(await copies(cluster, 'large'), 3)
    const sent = cluster.network.bytes - before
    assert.ok(sent < 2.5 * size, `each replica is sent it once: ${sent}`)
    await cluster.stopAll()
  })

  test('does not fail for a large value that is read from its replica, but waits for it', async t => {
    const cluster = await WriteCluster.start({
      ...{ random: seededRandom(printSeed(t)), nodes: 3, bytesPerSecond: 4.5 * 1024 * 1024 },
    })
    const [first, second, third] = cluster.members as [WriteMember, WriteMember, WriteMember]
    await cluster.stop(third)
    const { readStored } = PeerMessage
    second.running!.peers.handlers.set(readStored, async () => new Uint8Array(8 * 1024 * 1024))
    const beganMs = cluster.clock.monotonicMs()
    const { peers } = first.running!
    const reading = peers.request(second.id, 'data', readStored, new Uint8Array(8), 10_000)
    const writes: Promise<void>[] = []
    for (let index = 0; index < 40; index++) {
      writes.push(cluster.write(first, [put(`small ${index}`)], 'quorum'))
      await cluster.pass(50)
    }
    await cluster.settle(Promise.all([reading, ...writes]))
    const tookMs = cluster.clock.monotonicMs() - beganMs
    assert.ok(tookMs > 1700 && tookMs < 2300, `${tookMs}`)
    assert.equal(await copies(cluster, 'small 0'), 2)
    await cluster.stopAll()
  })

  test('that the own engine has no room for is nowhere, and says so at once', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [first] = cluster.members as [WriteMember]
    // After a second the mark of the clock is being extended meanwhile, which takes longer.
    for (const waitMs of [1000, 10]) {
      for (const consistency of ['one', 'quorum'] as const) {
        await cluster.pass(waitMs)
        const beside = cluster.write(first, [put('beside')])
        const beganMs = cluster.clock.monotonicMs()
        const writing = cluster.write(first, [put('k', 8 * 1024 * 1024)], consistency)
        const error = await failure(cluster.settle(writing))
        const what = `at ${consistency} after ${waitMs} ms: ${error.message}`
        assert.deepEqual([error.code, error.outcome], ['KV_OVERLOADED', 'rejected'], what)
        assert.ok(error instanceof OverloadedError && error.retryAfterMs > 0, what)
        assert.ok(cluster.clock.monotonicMs() - beganMs < 20, `at once: ${what}`)
        await cluster.settle(beside)
      }
    }
    await cluster.pass(2000)
    assert.deepEqual([await copies(cluster, 'k'), await copies(cluster, 'beside')], [0, 3])
    for (const peer of Object.values(first.running!.writes.figures().peers)) {
      assert.deepEqual([peer.pendingBytes, peer.hintCount], [0, 0])
    }
    await cluster.stopAll()
  })

  test('that is sent again under its version counts again, and changes nothing', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    const version = encodeVersion(Math.floor(cluster.clock.wallMs()), 0, WRITER)
    cluster.network.cut(first.id, second.id)
    await cluster.settle(cluster.write(first, [put('k')], 'one', version))
    cluster.network.mend()
    // Before the hint is replayed: only the retry itself can bring it.
    await cluster.settle(cluster.write(first, [put('k')], 'all', version))
    assert.equal(await copies(cluster, 'k'), 3)
    await cluster.stopAll()
  })

  test('by a node that owns none of it goes to its owners, one hop', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await WriteCluster.start({ random, nodes: 5, replicationFactor: 2 })
    for (let round = 0; round < 10; round++) {
      const names = Array.from({ length: 30 }, (_, index) => `k${round}-${index}`)
      const operations = names.map(name => put(name))
      const member = cluster.members[random.below(5)]!
      const consistency = random.below(2) === 0 ? 'quorum' : 'all'
      await cluster.settle(cluster.write(member, operations, consistency))
      for (const name of names) assert.equal(await copies(cluster, name), 2)
    }
    for (const { running } of cluster.members) {
      const { store } = running!
      for (let index = 0; index < 30; index++) {
        const key = utf8Encode(`k0-${index}`)
        const isOwner = cluster.owners(key).some(owner => owner.running === running)
        const stored = await store.readStored(store.partitioner.engineKey(key))
        assert.equal(stored !== undefined, isOwner)
      }
    }
    // Both owners of some are gone: of a batch over all partitions then nobody knows.
    for (const gone of others(cluster, cluster.members[0]!).slice(0, 3)) await cluster.stop(gone)
    const wide = Array.from({ length: 60 }, (_, index) => put(`w${index}`))
    const error = await failure(cluster.settle(cluster.write(cluster.members[0]!, wide)))
    assert.equal(error.outcome, 'unknown')
    await cluster.stopAll()
  })

  test('of very many operations reaches every replica', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 4 })
    const names = Array.from({ length: 3000 }, (_, index) => `k${index}`)
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    const operations = names.map(name => put(name, 200))
    await cluster.settle(cluster.write(first, operations, 'all'))
    for (const name of names) assert.equal(await copies(cluster, name), 3)
    cluster.network.cut(first.id, second.id)
    const again = names.map(name => put(`again ${name}`, 200))
    await cluster.settle(cluster.write(first, again))
    await cluster.crash(first)
    cluster.network.mend()
    await cluster.start(first)
    await cluster.pass(15_000)
    for (const name of names) assert.equal(await copies(cluster, `again ${name}`), 3)
    await cluster.stopAll()
  })
})

describe('at one, what a node alone has', () => {
  test('is at most a second old, then writes wait for one more replica', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 2 })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    const { handlers } = second.running!.peers
    const replicate = handlers.get(PeerMessage.replicate)!
    handlers.set(PeerMessage.replicate, () => {
      throw new OverloadedError('the disk does not keep up', 20)
    })
    await cluster.settle(cluster.write(first, [put('early')]))
    await cluster.pass(1100, 20)
    let isOver = false
    const late = cluster.write(first, [put('late')]).then(() => {
      isOver = true
    })
    await cluster.pass(500, 10)
    assert.equal(isOver, false, 'it waits')
    assert.ok(first.running!.writes.figures().unreplicatedAgeMs > 1500)
    handlers.set(PeerMessage.replicate, replicate)
    await cluster.settle(late)
    assert.equal(await copies(cluster, 'late'), 2)
    await cluster.stopAll()
  })

  test('is bounded in bytes: more waits, or is refused before anything is written', async t => {
    const cluster = await WriteCluster.start({
      random: seededRandom(printSeed(t)),
      nodes: 2,
      engine: { memoryBudget: 64 * 1024 * 1024, memtableSize: 4 * 1024 * 1024 },
    })
    const [first, second] = cluster.members as [WriteMember, WriteMember]
    // Just after a start every write is compared, and all of these would be under way at once.
    await cluster.pass(REPLICAS_AHEAD_MAX_MS + 100)
    second.running!.peers.handlers.set(PeerMessage.replicate, async () => {
      await delay(cluster.clock, 400)
      return encodeAnswer({ status: 1, epoch: cluster.table.ring.epoch, pauseMs: 0, refused: [] })
    })
    const outcomes = new Map<string, string>()
    let bytesMax = 0
    const writes = Array.from({ length: 150 }, async (_, index) => {
      const name = `k${index}`
      await cluster.write(first, [put(name, 300_000)]).then(
        () => outcomes.set(name, 'done'),
        (error: KvError) => outcomes.set(name, `${error.code} ${error.outcome}`),
      )
    })
    while (outcomes.size < writes.length) {
      await cluster.clock.advanceAsync(1, 2)
      bytesMax = Math.max(bytesMax, first.running!.writes.figures().unreplicatedBytes)
    }
    assert.ok(bytesMax > 4e6 && bytesMax < 8 * 1024 * 1024, `${bytesMax}`)
    const { peers } = first.running!.writes.figures()
    assert.equal(peers[second.id]!.hintBytes, 0)
    for (const [name, outcome] of outcomes) {
      const isThere = (await cluster.formAt(first, utf8Encode(name))) !== undefined
      assert.equal(isThere, outcome === 'done', `${name}: ${outcome}`)
      assert.ok(isThere || outcome === 'KV_OVERLOADED rejected', outcome)
    }
    assert.ok([...outcomes.values()].filter(outcome => outcome !== 'done').length > 10)
    await cluster.stopAll()
  })
})
