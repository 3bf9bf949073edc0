// Goal: a quorum read sees every write that a quorum acknowledged and never goes back behind what
// an earlier one has shown, whatever replicas miss, lose, or fail at; a read that cannot be served
// fails at once; damaged copies are healed; any node answers for any key.
// Method: clusters of three to five nodes on one clock, whose replicas are made to differ by hand,
// with links cut, nodes paused, crashed and restarted by the seed; then each of these alone.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { PeerMessage } from '../../src/cluster/peers.ts'
import type { ReadTerms } from '../../src/cluster/read-coordinator.ts'
import { encodeKeys } from '../../src/cluster/read-messages.ts'
import { encodeValue, storedVersion } from '../../src/cluster/versioned-value.ts'
import { CorruptionError, KvError, TimeoutError, UnavailableError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { versionTimeMs } from '../../src/write-version.ts'
import { FakeCluster, type FakeMember } from '../support/fake-cluster.ts'
import { printSeed } from '../support/seed.ts'

const KEY = utf8Encode('key')

function numberOf(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : Number(utf8Decode(value))
}

function give(member: FakeMember, key: Uint8Array, stored: Uint8Array): Promise<void> {
  const engineKey = member.store.partitioner.engineKey(key)
  return member.store.applyStored([{ engineKey, stored: stored.slice() }])
}

function numberAt(cluster: FakeCluster, member: FakeMember, key: Uint8Array): number {
  void cluster
  const engineKey = member.store.partitioner.engineKey(key)
  const row = member.engine.rows.find(candidate => Buffer.compare(candidate.key, engineKey) === 0)
  return row === undefined ? 0 : numberOf(row.value.subarray(18))
}

function damage(member: FakeMember, key: Uint8Array): void {
  const engineKey = member.store.partitioner.engineKey(key)
  member.engine.rows = member.engine.rows.map(row =>
    Buffer.compare(row.key, engineKey) === 0 ? { ...row, value: row.value.slice(0, 5) } : row,
  )
}

function quorum(cluster: FakeCluster, deadlineMs = 1000): ReadTerms {
  return { consistency: 'quorum', deadlineMs: cluster.clock.monotonicMs() + deadlineMs }
}

describe('reads across the cluster', () => {
  test('a quorum read never misses what a quorum has, and never goes back', async t => {
    const random = seededRandom(printSeed(t))
    let served = 0
    for (let round = 0; round < 6; round++) {
      const cluster = await FakeCluster.start({ random, nodes: 3 + random.below(3) })
      const keys = Array.from({ length: 8 }, (_, index) => utf8Encode(`k${round}-${index}`))
      /** By key, what later reads must show at least. */
      const floors = keys.map(() => 0)
      let number = 0
      const stopped = new Set<FakeMember>()
      for (let step = 0; step < 150; step++) {
        const at = random.below(keys.length)
        const key = keys[at]!
        const replicas = cluster.replicasOf(key)
        const up = cluster.members.filter(member => !stopped.has(member))
        switch (random.below(8)) {
          case 0:
          case 1: {
            const form = cluster.form(++number)
            const chosen = replicas.filter(member => !stopped.has(member) && random.below(3) > 0)
            const given = await Promise.allSettled(chosen.map(member => give(member, key, form)))
            const count = given.filter(({ status }) => status === 'fulfilled').length
            if (count >= 2) floors[at] = Math.max(floors[at]!, number)
            break
          }
          case 2:
            cluster.network.cut(
              cluster.members[random.below(cluster.members.length)]!.id,
              cluster.members[random.below(cluster.members.length)]!.id,
            )
            break
          case 3:
            cluster.network.mend()
            for (const member of stopped) await cluster.restart(member)
            stopped.clear()
            break
          case 4:
            if (stopped.size > 0) break
            stopped.add(up[random.below(up.length)]!)
            for (const member of stopped) cluster.crash(member)
            break
          case 5:
            cluster.network.pause(up[random.below(up.length)]!.id)
            break
          default: {
            // Several at once, of which none may go back behind the floors at its start.
            const readers = Array.from({ length: 1 + random.below(3) }, () => {
              const { reads } = up[random.below(up.length)]!
              const floor = floors[at]!
              const asked = random.below(2) === 0 ? [key] : keys
              const found =
                asked.length === 1
                  ? Promise.resolve(reads.get(key, quorum(cluster))).then(value => [value])
                  : reads.getMany(keys, quorum(cluster), 1e6)
              return found.then(
                values => {
                  const seen = numberOf(values[asked.indexOf(key)])
                  assert.ok(seen >= floor, `step ${step}: ${seen} after ${floor}`)
                  floors[at] = Math.max(floors[at]!, seen)
                  served++
                },
                (error: unknown) => {
                  assert.ok(error instanceof KvError, String(error))
                },
              )
            })
            await cluster.settle(Promise.all(readers))
          }
        }
      }
    }
    // Of one round it is 55 on average, with a standard deviation of 15.
    assert.ok(served > 60, `${served} reads were served`)
  })

  test('gives the newest form to the replicas it asked, before it answers', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    for (const [index, newest] of [a, b, c].entries()) {
      const number = 10 * (index + 1)
      await give(newest, KEY, cluster.form(number))
      const terms = { ...quorum(cluster), consistency: 'all' as const }
      const value = await cluster.settle(Promise.resolve(a.reads.get(KEY, terms)))
      assert.equal(numberOf(value), number)
      for (const member of [a, b, c]) assert.equal(numberAt(cluster, member, KEY), number)
    }
    assert.equal(a.reads.figures.mismatched, 3)
  })

  test('equal replicas cost one round of versions, and nothing else', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    for (const member of cluster.members) await give(member, KEY, cluster.form(1))
    const [a] = cluster.members
    await cluster.settle(Promise.resolve(a!.reads.get(KEY, quorum(cluster))))
    assert.deepEqual([...cluster.network.kinds], [[PeerMessage.readVersions, 1]])
  })

  test('any node answers for any key, with one hop', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 5, partitionCount: 64 })
    const keys = Array.from({ length: 100 }, (_, index) => utf8Encode(`k${index}`))
    for (const [index, key] of keys.entries()) {
      for (const member of cluster.replicasOf(key)) await give(member, key, cluster.form(index + 1))
    }
    const deadlineMs = 1000
    for (const consistency of ['one', 'quorum', 'all'] as const) {
      for (const member of cluster.members) {
        const terms = { consistency, deadlineMs: cluster.clock.monotonicMs() + deadlineMs }
        const found = await cluster.settle(member.reads.getMany(keys, terms, 1e6))
        assert.deepEqual(
          found.map(numberOf),
          keys.map((_, index) => index + 1),
        )
        const few = await cluster.settle(member.reads.getMany(keys, terms, 1))
        assert.ok(few.length >= 1 && few.length < keys.length)
        assert.deepEqual(
          few.map(numberOf),
          few.map((_, index) => index + 1),
        )
        const key = keys[random.below(keys.length)]!
        const value = await cluster.settle(Promise.resolve(member.reads.get(key, terms)))
        assert.equal(numberOf(value), keys.indexOf(key) + 1)
      }
    }
  })

  test('asks the next replica when one fails or says nothing', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 4, replicationFactor: 3 })
    const key = utf8Encode('key')
    const replicas = cluster.replicasOf(key)
    for (const member of replicas) await give(member, key, cluster.form(7))
    const { reads } = cluster.members.find(member => !replicas.includes(member))!
    for (const replica of replicas) cluster.network.pause(replica.id)
    const silent = reads.get(key, { ...quorum(cluster), consistency: 'one' })
    await assert.rejects(cluster.settle(Promise.resolve(silent)), TimeoutError)
    for (const replica of replicas) {
      cluster.network.mend()
      for (const other of replicas) if (other !== replica) cluster.network.pause(other.id)
      const terms = { ...quorum(cluster, 2000), consistency: 'one' as const }
      const value = await cluster.settle(Promise.resolve(reads.get(key, terms)))
      assert.equal(numberOf(value), 7)
    }
    cluster.network.mend()
    cluster.network.pause(replicas[0]!.id)
    for (let turn = 0; turn < 5; turn++) {
      const value = await cluster.settle(Promise.resolve(reads.get(key, quorum(cluster))))
      assert.equal(numberOf(value), 7)
    }
  })

  test('fails at once when too few replicas can be reached', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    await give(a, KEY, cluster.form(1))
    cluster.network.cut(a.id, b.id)
    const all = { ...quorum(cluster), consistency: 'all' as const }
    await assert.rejects(Promise.resolve(a.reads.get(KEY, all)), UnavailableError)
    assert.equal(
      numberOf(await cluster.settle(Promise.resolve(a.reads.get(KEY, quorum(cluster))))),
      1,
    )
    cluster.network.cut(a.id, c.id)
    const tooFew = /^[^,]*: 2 of 3 replicas must answer, and 1 can be reached \(not \w+, \w+\): try/
    await assert.rejects(Promise.resolve(a.reads.get(KEY, quorum(cluster))), tooFew)
    assert.equal(numberOf(await a.reads.get(KEY, { ...quorum(cluster), consistency: 'one' })), 1)
  })

  test('does not wait for replicas that have fallen silent', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    await give(a, KEY, cluster.form(1))
    for (const { id } of [b, c]) cluster.network.pause(id)
    const read = Promise.resolve(a.reads.get(KEY, quorum(cluster, 5000)))
    const refused = assert.rejects(read, UnavailableError)
    await cluster.clock.advanceAsync(1000)
    for (const { id } of [b, c]) cluster.network.silence(id)
    const beganMs = cluster.clock.monotonicMs()
    await cluster.settle(refused)
    assert.ok(cluster.clock.monotonicMs() - beganMs <= 300)
    await assert.rejects(Promise.resolve(a.reads.get(KEY, quorum(cluster))), /replicas must answer/)
    assert.ok(cluster.clock.monotonicMs() - beganMs <= 300, 'and at once from then on')
    cluster.network.mend()
    assert.equal(
      numberOf(await cluster.settle(Promise.resolve(a.reads.get(KEY, quorum(cluster))))),
      1,
    )
  })

  test('what cannot be read is read elsewhere, and healed', async t => {
    const random = seededRandom(printSeed(t))
    for (const consistency of ['one', 'quorum'] as const) {
      for (const isOwn of [true, false]) {
        const cluster = await FakeCluster.start({ random, nodes: 3 })
        const [reader, other] = cluster.members as [FakeMember, FakeMember]
        const damaged = isOwn ? reader : other
        for (const member of cluster.members) await give(member, KEY, cluster.form(5))
        damage(damaged, KEY)
        const terms = { ...quorum(cluster), consistency }
        const value = await cluster.settle(Promise.resolve(reader.reads.get(KEY, terms)))
        assert.equal(numberOf(value), 5)
        damage(damaged, KEY)
        const [many] = await cluster.settle(reader.reads.getMany([KEY], terms, 10))
        assert.equal(numberOf(many), 5)
        await cluster.clock.advanceAsync(20)
        if (isOwn) assert.equal(numberAt(cluster, damaged, KEY), 5)
        assert.equal(damaged.marks.damaged.count, 0, 'a quorum has agreed on what it was given')
      }
    }
  })

  test('what a copy is known to lack is asked for elsewhere, or the read fails', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3, partitionCount: 1 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    for (const member of [b, c]) await give(member, KEY, cluster.form(5))
    const written = cluster.form(6)
    const mine = utf8Encode('mine')
    for (const member of cluster.members) await give(member, mine, written)
    await cluster.settle(a.marks.damaged.add([0]))
    const one = (): ReadTerms => ({ ...quorum(cluster), consistency: 'one' })
    const entry = () => cluster.settle(Promise.resolve(a.reads.entry(KEY, one())))
    const session = () => {
      const least = [undefined, storedVersion(written)]
      return cluster.settle(a.reads.getMany([KEY, mine], { ...one(), least }, 1e6))
    }
    assert.equal(numberOf((await entry())?.value), 5)
    assert.deepEqual((await session()).map(numberOf), [5, 6])
    for (const { id } of [b, c]) cluster.network.cut(a.id, id)
    await assert.rejects(entry(), UnavailableError)
    await assert.rejects(session(), UnavailableError)
    await give(a, KEY, cluster.form(3))
    assert.equal(numberOf((await entry())?.value), 3, 'what is there will do then')
    assert.deepEqual((await session()).map(numberOf), [3, 6])
  })

  test('what a copy is found to lack while it is read is not told', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3, partitionCount: 1 })
    const [a, b] = cluster.members as [FakeMember, FakeMember]
    const read = a.engine.read.bind(a.engine)
    a.engine.read = async (key, snapshot) => {
      if (!a.marks.damaged.has(0)) await a.marks.damaged.add([0])
      return read(key, snapshot)
    }
    const { epoch } = cluster.table.ring
    const body = encodeKeys({ epoch, keys: [KEY] })
    const reading = b.peers.request(a.id, 'data', PeerMessage.readStored, body, 1000)
    await assert.rejects(cluster.settle(reading), UnavailableError)
  })

  test('no quorum relies on a node of which others may still say that it is an old copy', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3, partitionCount: 1 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    for (const member of [a, b]) await give(member, KEY, cluster.form(5))
    cluster.voteless.add(a.id)
    const read = (reader: FakeMember, terms: ReadTerms) =>
      cluster.settle(Promise.resolve(reader.reads.get(KEY, terms))).then(numberOf)
    for (const { id } of [a, c]) cluster.network.cut(b.id, id)
    for (const reader of [a, c]) {
      await assert.rejects(read(reader, quorum(cluster)), UnavailableError)
    }
    assert.equal(await read(a, { ...quorum(cluster), consistency: 'one' }), 5)
    cluster.voteless.clear()
    assert.equal(await read(c, quorum(cluster)), 5)
  })

  test('the newest form is fetched from whoever has it', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    await give(a, KEY, cluster.form(1))
    const form = cluster.form(2)
    for (const member of [b, c]) await give(member, KEY, form)
    const { request } = cluster.network
    let refused = 0
    cluster.network.request = (from, to, kind, body, timeoutMs) => {
      if (kind !== PeerMessage.readStored || refused++ > 0) {
        return request.call(cluster.network, from, to, kind, body, timeoutMs)
      }
      return Promise.reject(new UnavailableError('the test refuses the first'))
    }
    const terms = { ...quorum(cluster), consistency: 'all' as const }
    const value = await cluster.settle(Promise.resolve(a.reads.get(KEY, terms)))
    assert.equal(numberOf(value), 2)
    assert.equal(refused, 2)
    refused = 0
    await give(b, KEY, cluster.form(1000))
    const failing = cluster.settle(Promise.resolve(a.reads.get(KEY, terms)))
    await assert.rejects(failing, UnavailableError)
  })

  test('what the engine cannot read is healed by what others have', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [a] = cluster.members as [FakeMember]
    for (const member of cluster.members) await give(member, KEY, cluster.form(5))
    const engineKey = a.store.partitioner.engineKey(KEY)
    const { read, write } = a.engine
    let isDamaged = true
    a.engine.read = (key, snapshot) => {
      const isKey = Buffer.compare(key, engineKey) === 0
      if (!isKey || !isDamaged) return read.call(a.engine, key, snapshot)
      throw new CorruptionError({ path: 'a.sst', offset: 7 }, 'a block is damaged')
    }
    a.engine.write = operations => {
      // A later table hides the damaged one.
      if (operations.some(({ key }) => Buffer.compare(key, engineKey) === 0)) isDamaged = false
      return write.call(a.engine, operations)
    }
    for (const consistency of ['one', 'quorum'] as const) {
      isDamaged = true
      const terms = { ...quorum(cluster), consistency }
      const value = await cluster.settle(Promise.resolve(a.reads.get(KEY, terms)))
      assert.equal(numberOf(value), 5)
      await cluster.pass(50)
      assert.equal(isDamaged, false)
    }
  })

  test('shows nothing of an answer that came too late to be given to others', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    for (const [index, member] of [c, b, a].entries()) {
      await give(member, KEY, cluster.form(index + 1))
    }
    // The own copy is read slowly: b and c agree, c is given what b has, and then it is there.
    const { read } = a.engine
    let release: () => void = () => undefined
    const slow = new Promise<void>(resolve => {
      release = resolve
    })
    a.engine.read = (key, snapshot) => slow.then(() => read.call(a.engine, key, snapshot))
    const { request } = cluster.network
    let repairs = 0
    cluster.network.request = async (from, to, kind, body, timeoutMs) => {
      if (kind === PeerMessage.readRepair && repairs++ === 0) {
        release()
        await cluster.clock.advanceAsync(1)
      }
      return request.call(cluster.network, from, to, kind, body, timeoutMs)
    }
    const first = await cluster.settle(Promise.resolve(a.reads.get(KEY, quorum(cluster))))
    assert.ok(repairs > 0)
    cluster.network.cut(a.id, b.id)
    cluster.network.cut(a.id, c.id)
    const later = await cluster.settle(Promise.resolve(b.reads.get(KEY, quorum(cluster))))
    assert.ok(numberOf(later) >= numberOf(first), `${numberOf(later)} after ${numberOf(first)}`)
  })

  test('a session reads what it wrote, wherever that is', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 5 })
    const [a, b, c] = cluster.replicasOf(KEY) as [FakeMember, FakeMember, FakeMember]
    for (const member of [a, b, c]) await give(member, KEY, cluster.form(1))
    await give(c, KEY, cluster.form(2))
    const least = [storedVersion(cluster.form(2))]
    for (const member of cluster.members) {
      const terms: ReadTerms = { ...quorum(cluster), consistency: 'one', least }
      const value = await cluster.settle(Promise.resolve(member.reads.get(KEY, terms)))
      assert.equal(numberOf(value), 2)
    }
    const unknown: ReadTerms = {
      ...quorum(cluster),
      consistency: 'one',
      least: [storedVersion(cluster.form(3))],
    }
    const early = cluster.settle(Promise.resolve(a.reads.get(KEY, unknown)))
    await assert.rejects(early, UnavailableError)
    // What the session deleted long ago is deleted, and forgotten by all.
    const gone = utf8Encode('gone')
    const partitions = [a.store.partitioner.partitionOf(gone)]
    const old = versionTimeMs(least[0]!) + 1
    for (const { marks } of cluster.members) await marks.advance(partitions, old)
    for (const member of cluster.members) {
      const terms: ReadTerms = { ...quorum(cluster), consistency: 'one', least }
      const value = await cluster.settle(Promise.resolve(member.reads.get(gone, terms)))
      assert.equal(value, undefined)
    }
  })

  test('a session reads what it wrote where less than a quorum is in reach', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 5, replicationFactor: 5 })
    const [a, b, ...others] = cluster.replicasOf(KEY) as [FakeMember, FakeMember, ...FakeMember[]]
    await give(a, KEY, cluster.form(1))
    await give(b, KEY, cluster.form(2))
    for (const { id } of others) cluster.network.cut(a.id, id)
    const read = (number: number): Promise<number> => {
      const least = [storedVersion(cluster.form(number))]
      const terms: ReadTerms = { ...quorum(cluster), consistency: 'one', least }
      return cluster.settle(Promise.resolve(a.reads.get(KEY, terms))).then(numberOf)
    }
    assert.equal(await read(2), 2)
    await assert.rejects(read(3), UnavailableError)
  })

  test('a value that takes seconds to arrive for its size does', async t => {
    const random = seededRandom(printSeed(t))
    const size = 22 * 1024 * 1024
    const bytesPerSecond = 4 * 1024 * 1024
    const cluster = await FakeCluster.start({
      ...{ random, nodes: 4, replicationFactor: 3, bytesPerSecond },
    })
    const [a, b, c] = cluster.replicasOf(KEY) as [FakeMember, FakeMember, FakeMember]
    const other = cluster.members.find(member => ![a, b, c].includes(member))!
    const version = storedVersion(cluster.form(1))
    const stored = encodeValue(version, new Uint8Array(size), 0)
    await give(b, KEY, stored)
    for (const [reader, consistency, seconds] of [
      // From b, and then to c, before it is answered.
      [a, 'all', 12],
      [other, 'one', 6],
    ] as const) {
      const beganMs = cluster.clock.monotonicMs()
      const terms = { ...quorum(cluster, 30_000), consistency }
      const reading = Promise.resolve(reader.reads.get(KEY, terms))
      let isOver = false
      const over = (): void => {
        isOver = true
      }
      reading.then(over, over)
      while (!isOver) await cluster.clock.advanceAsync(50)
      assert.equal((await reading)?.length, size)
      assert.ok(cluster.clock.monotonicMs() - beganMs < seconds * 1000)
    }
  })

  test('a session is not answered by a copy that is known to be old', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 4, replicationFactor: 3 })
    const [old, b, c] = cluster.replicasOf(KEY) as [FakeMember, FakeMember, FakeMember]
    const other = cluster.members.find(member => ![old, b, c].includes(member))!
    const partition = old.store.partitioner.partitionOf(KEY)
    const written = cluster.form(2)
    await give(old, KEY, written)
    const read = async (member: FakeMember): Promise<number> => {
      const least = [storedVersion(written)]
      const terms: ReadTerms = { ...quorum(cluster), consistency: 'one', least }
      const [value] = await cluster.settle(member.reads.getMany([KEY], terms, 1e6))
      return numberOf(value)
    }
    assert.equal(await read(old), 2)
    await old.marks.meet(partition, 1)
    assert.ok(old.marks.isBehind(partition))
    for (const member of [old, other]) await assert.rejects(read(member), UnavailableError)
    for (const member of [b, c]) await give(member, KEY, cluster.form(3))
    for (const member of [old, other]) assert.equal(await read(member), 3)
    // Found out while it is read.
    const again = await FakeCluster.start({ random, nodes: 3 })
    const [late] = again.replicasOf(KEY) as [FakeMember]
    const form = again.form(2)
    await give(late, KEY, form)
    const { read: readForm } = late.engine
    late.engine.read = (key, snapshot) => {
      void late.marks.meet(partition, 1)
      return readForm.call(late.engine, key, snapshot)
    }
    const least = [storedVersion(form)]
    const terms: ReadTerms = { ...quorum(again), consistency: 'one', least }
    await assert.rejects(again.settle(late.reads.getMany([KEY], terms, 1e6)), UnavailableError)
  })

  test('a node of another epoch than the last is refused', async t => {
    const random = seededRandom(printSeed(t))
    const cluster = await FakeCluster.start({ random, nodes: 3 })
    const [a] = cluster.members
    for (const member of cluster.members) await give(member, KEY, cluster.form(1))
    const { figures } = a!.reads
    const epoch = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(a!.reads.sets), 'epoch')!
    Object.defineProperty(a!.reads.sets, 'epoch', { get: () => epoch.get!.call(a!.reads.sets) + 2 })
    const reading = cluster.settle(Promise.resolve(a!.reads.get(KEY, quorum(cluster))))
    await assert.rejects(reading, /replicas must answer/)
    assert.equal(figures.failed, 1)
  })
})
