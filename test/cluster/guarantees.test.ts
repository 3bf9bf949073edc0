// Goal: what src/cluster/GUARANTEES.md promises of writes and no other test shows: what outlives a
// disk, all nodes at once, a partition, and what becomes of batches, deletions and expiry.
// Method: three nodes with real engines on simulated disks, of which one or all are lost; nothing
// but what writes leave behind brings replicas together.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import type { StoreWrite } from '../../src/cluster/store-operation.ts'
import { expiryMs, isTombstone } from '../../src/cluster/versioned-value.ts'
import { KvError } from '../../src/errors.ts'
import { CONSISTENCIES } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'
import { WriteCluster, type WriteMember } from '../support/write-cluster.ts'

type Three = [WriteMember, WriteMember, WriteMember]

function put(name: string, { value = name, ttlMs = 0 } = {}): StoreWrite {
  return { type: 'put', key: utf8Encode(name), value: utf8Encode(value), ttlMs }
}

/** What each node that runs has of the key, in hex; undefined for nothing. */
function forms(cluster: WriteCluster, name: string): Promise<(string | undefined)[]> {
  const running = cluster.members.filter(({ running }) => running !== undefined)
  return Promise.all(running.map(member => cluster.formAt(member, utf8Encode(name))))
}

async function copies(cluster: WriteCluster, name: string): Promise<number> {
  return (await forms(cluster, name)).filter(form => form !== undefined).length
}

/** Fails unless all three have the same, and something. Resolves to it. */
async function theSame(cluster: WriteCluster, name: string): Promise<Uint8Array> {
  const [first, ...rest] = await forms(cluster, name)
  assert.ok(first !== undefined, `${name} is there`)
  assert.deepEqual(rest, [first, first], `${name} is the same everywhere`)
  return Buffer.from(first, 'hex')
}

const names = (count: number): string[] => Array.from({ length: count }, (_, at) => `k${at}`)

describe('what is lost', () => {
  test('with any one disk: nothing that a quorum acknowledged', async t => {
    const random = seededRandom(printSeed(t))
    for (const lost of [0, 1, 2]) {
      const cluster = await WriteCluster.start({ random, nodes: 3 })
      const written = names(12)
      await Promise.all(
        written.map(name =>
          cluster.settle(cluster.write(cluster.members[random.below(3)]!, [put(name)], 'quorum')),
        ),
      )
      const [one, other] = cluster.members.filter((_, at) => at !== lost)
      for (const { id } of [one!, other!]) cluster.network.pause(id)
      let isAcknowledged = false
      const slow = cluster.write(cluster.members[lost]!, [put('slow')], 'quorum')
      const last = slow.then(() => {
        isAcknowledged = true
      })
      await cluster.pass(100)
      assert.ok(!isAcknowledged, 'no other has it')
      cluster.network.mend()
      cluster.network.pause(other!.id)
      await cluster.settle(last)
      // It never returns: nothing that it owes arrives any more.
      await cluster.crash(cluster.members[lost]!)
      for (const name of [...written, 'slow']) {
        assert.ok((await copies(cluster, name)) >= 1, name)
      }
      await cluster.stopAll()
    }
  })

  test('with any two disks: nothing that all acknowledged', async t => {
    const random = seededRandom(printSeed(t))
    for (const left of [0, 1, 2]) {
      const cluster = await WriteCluster.start({ random, nodes: 3 })
      const written = names(12)
      await Promise.all(
        written.map(name =>
          cluster.settle(cluster.write(cluster.members[random.below(3)]!, [put(name)], 'all')),
        ),
      )
      // One that is slow for the node that will be left.
      cluster.network.pause(cluster.members[left]!.id)
      let isAcknowledged = false
      const slow = cluster.write(cluster.members[(left + 1) % 3]!, [put('slow')], 'all')
      const last = slow.then(() => {
        isAcknowledged = true
      })
      await cluster.pass(100)
      assert.ok(!isAcknowledged, 'the third one has it not')
      cluster.network.mend()
      await cluster.settle(last)
      for (const at of [0, 1, 2]) if (at !== left) await cluster.crash(cluster.members[at]!)
      for (const name of [...written, 'slow']) assert.equal(await copies(cluster, name), 1, name)
      await cluster.stopAll()
    }
  })

  test('when all nodes lose power at once: nothing, at any consistency', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await WriteCluster.start({ random, nodes: 3 })
    const written = names(30)
    await Promise.all(
      written.map((name, at) => {
        const member = cluster.members[random.below(3)]!
        return cluster.settle(cluster.write(member, [put(name)], CONSISTENCIES[at % 3]!))
      }),
    )
    // These are on one node alone when it happens.
    const [first, ...others] = cluster.members as [WriteMember, ...WriteMember[]]
    for (const { id } of others) cluster.network.pause(id)
    for (const name of ['last', 'very last'])
      await cluster.settle(cluster.write(first, [put(name)]))
    for (const member of cluster.members) await cluster.crash(member)
    cluster.network.mend()
    for (const member of cluster.members) await cluster.start(member)
    await cluster.pass(8000)
    for (const name of [...written, 'last', 'very last']) await theSame(cluster, name)
    await cluster.stopAll()
  })
})

test('on both sides of a partition one is served, quorum on the greater side only', async t => {
  const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
  const [first, second, third] = cluster.members as Three
  cluster.network.cut(first.id, third.id)
  cluster.network.cut(second.id, third.id)
  await cluster.settle(cluster.write(first, [put('both', { value: 'greater side' })]))
  await cluster.pass(50)
  await cluster.settle(cluster.write(third, [put('both', { value: 'smaller side, and later' })]))
  await cluster.settle(cluster.write(second, [put('quorum')], 'quorum'))
  const beganMs = cluster.clock.monotonicMs()
  await assert.rejects(cluster.settle(cluster.write(third, [put('refused')], 'quorum')), error => {
    assert.ok(error instanceof KvError)
    assert.deepEqual([error.code, error.outcome], ['KV_UNAVAILABLE', 'rejected'])
    return true
  })
  assert.ok(cluster.clock.monotonicMs() - beganMs <= 100)
  cluster.network.mend()
  await cluster.pass(8000)
  const both = Buffer.from(await theSame(cluster, 'both')).toString()
  assert.match(both, /smaller side, and later$/, 'the later write wins')
  await theSame(cluster, 'quorum')
  assert.equal(await copies(cluster, 'refused'), 0)
  await cluster.stopAll()
})

/**
 * Puts of one version by a node that loses power at some moment, and what is there in the end. With
 * `isAlone` nobody else has heard of any: what was acknowledged comes from what that node owes.
 */
async function loseBatches(random: Random, nodes: number, isAlone: boolean) {
  const cluster = await WriteCluster.start({ random, nodes })
  const [first, ...others] = cluster.members as [WriteMember, ...WriteMember[]]
  const batches = [0, 1, 2, 3].map(batch => {
    const all = names(60).map(name => `${batch} ${name}`)
    // What it does not own others would have to take from it.
    const own = all.filter(name => cluster.owners(utf8Encode(name)).includes(first))
    return (isAlone ? own : all).slice(0, 20)
  })
  if (isAlone) for (const { id } of others) cluster.network.pause(id)
  const acknowledged = new Set<number>()
  for (const [at, batch] of batches.entries()) {
    const puts = batch.map(name => put(name))
    const write = cluster.write(first, puts).then(
      () => acknowledged.add(at),
      () => undefined,
    )
    if (isAlone && at === 0) await cluster.settle(write)
    if (random.below(2) === 0) await cluster.clock.advanceAsync(random.below(2), random.below(3))
  }
  const promised = new Set(acknowledged)
  assert.ok(!isAlone || promised.has(0))
  await cluster.crash(first)
  cluster.network.mend()
  await cluster.start(first)
  await cluster.pass(8000)
  return { cluster, batches, promised }
}

test('a batch is whole or nothing, whenever its node loses power', async t => {
  const random = seededRandom(printSeed(t))
  let whole = 0
  for (let round = 0; round < 8; round++) {
    const { cluster, batches, promised } = await loseBatches(random, 3, round % 2 === 0)
    for (const [at, batch] of batches.entries()) {
      const counts = new Set<number>()
      for (const name of batch) counts.add(await copies(cluster, name))
      assert.equal(counts.size, 1, `batch ${at} is whole or nothing: ${[...counts]}`)
      const [count] = counts
      // What its node had not made durable, others may have been sent all the same.
      assert.ok(count === 3 || !promised.has(at), `batch ${at} is on ${count} nodes`)
      if (count === 3) whole++
    }
    await cluster.stopAll()
  }
  t.diagnostic(`${whole} of 32 batches are there`)
})

test('where nodes own parts of a batch, each partition is whole or nothing', async t => {
  const random = seededRandom(printSeed(t))
  for (let round = 0; round < 4; round++) {
    const { cluster, batches, promised } = await loseBatches(random, 5, round % 2 === 0)
    for (const [at, batch] of batches.entries()) {
      const countOf = new Map<string, number>()
      for (const name of batch) {
        const owners = cluster.owners(utf8Encode(name)).map(({ id }) => id)
        const count = await copies(cluster, name)
        const { partitioner } = cluster.members[0]!.running!.store
        const partition = `${partitioner.partitionOf(utf8Encode(name))} of ${owners}`
        assert.equal(countOf.get(partition) ?? count, count, `batch ${at}, partition ${partition}`)
        assert.ok(count === 3 || !promised.has(at), `batch ${at}: ${name} is on ${count} nodes`)
        countOf.set(partition, count)
      }
    }
    await cluster.stopAll()
  }
})

test('a deletion reaches a node that was away and has the key', async t => {
  const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
  const [first, second, third] = cluster.members as Three
  await cluster.settle(cluster.write(first, [put('k')], 'all'))
  await cluster.kill(third)
  const deletion: StoreWrite = { type: 'del', key: utf8Encode('k') }
  await cluster.settle(cluster.write(second, [deletion], 'quorum'))
  // Who owes it forgets it in no restart.
  await cluster.crash(second)
  await cluster.start(second)
  await cluster.start(third)
  await cluster.pass(8000)
  assert.ok(isTombstone(await theSame(cluster, 'k')))
  await cluster.stopAll()
})

test('an expiry is one moment on all replicas, also on one that hears of it later', async t => {
  const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
  const [first, , third] = cluster.members as Three
  await cluster.kill(third)
  const dueMs = cluster.clock.wallMs() + 60_000
  await cluster.settle(cluster.write(first, [put('k', { ttlMs: 60_000 })]))
  await cluster.pass(20_000, 500)
  await cluster.start(third)
  await cluster.pass(8000)
  const expiry = expiryMs(await theSame(cluster, 'k'))
  assert.ok(Math.abs(expiry - dueMs) < 1000, `${expiry - dueMs} ms off`)
  for (const { running } of cluster.members) {
    assert.ok(await running!.store.get(utf8Encode('k')), 'before it')
  }
  await cluster.pass(40_000, 500)
  for (const { running } of cluster.members) {
    assert.equal(await running!.store.get(utf8Encode('k')), undefined, 'after it')
  }
  await cluster.stopAll()
})
