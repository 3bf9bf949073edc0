// Goal: a replica stores what is its own, whatever order it comes in, and tells a sender with an
// older ring, or the wrong owner, so.
// Method: messages to one replica over the fake engine, and its answers.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import type { StoredEntry } from '../../src/cluster/partitioned-store.ts'
import { PeerNumbers } from '../../src/cluster/peer-numbers.ts'
import { ReplicaApply } from '../../src/cluster/replica-apply.ts'
import { decodeAnswer, encodeEntries } from '../../src/cluster/replica-message.ts'
import { createRing } from '../../src/cluster/ring.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import { encodeTombstone, encodeValue } from '../../src/cluster/versioned-value.ts'
import { ProtocolError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { startFakeNode } from '../support/fake-node.ts'
import { ringOf } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'

const WRITER = new Uint8Array(8).fill(7)

async function startReplica(seed = 1) {
  const node = await startFakeNode()
  const slowness = { ms: 0 }
  const random = seededRandom(seed)
  const ring = ringOf(random, {
    partitionCount: 16,
    replicationFactor: 2,
    virtualNodes: 16,
    members: [{}, {}, {}, {}],
  })
  const [self, peer] = ring.members.map(({ nodeId }) => nodeId) as [string, string]
  let table = new RingTable(ring)
  const newer: number[] = []
  const { store, clock } = node
  const replica = new ReplicaApply({
    self,
    store,
    clock,
    table: () => table,
    fence: entries => {
      clock.advance(slowness.ms)
      return entries
    },
    onNewerEpoch: (from, epoch) => {
      assert.equal(from, peer)
      newer.push(epoch)
    },
  })
  const context = { from: peer, epoch: 1, deadlineMs: Number.POSITIVE_INFINITY }
  const send = async (
    epoch: number,
    entries: readonly StoredEntry[],
    kind: 'replicate' | 'hints',
  ) => decodeAnswer(await replica[kind](encodeEntries({ epoch, entries }).slice(), context))
  /** A key that the replica owns, or that it does not. */
  const keyWhere = (owned: boolean): Uint8Array => {
    for (let count = 0; ; count++) {
      const key = utf8Encode(`k${count}`)
      if (table.isOwner(store.partitioner.partitionOf(key), self) === owned) return key
    }
  }
  const raise = (): void => {
    table = new RingTable(createRing({ ...ring, epoch: table.ring.epoch + 1 }))
  }
  return { ...node, ring, replica, send, keyWhere, newer, raise, slowness }
}

describe('a replica', () => {
  test('stores the later of two forms, and what it does not own it refuses', async () => {
    const { send, keyWhere, ring, store, clock, replica } = await startReplica()
    const { epoch } = ring
    const own = store.partitioner.engineKey(keyWhere(true))
    const foreign = store.partitioner.engineKey(keyWhere(false))
    const version = (ms: number) => encodeVersion(clock.wallMs() + ms, 0, WRITER)
    const late = encodeTombstone(version(-1))
    const early = encodeValue(version(-2), utf8Encode('early'), 0)
    const entries = [
      { engineKey: own, stored: late },
      { engineKey: foreign, stored: late },
      { engineKey: own, stored: early },
    ]
    const answer = await send(epoch, entries, 'replicate')
    assert.deepEqual(answer, { status: 1, epoch, pauseMs: 0, refused: [1] })
    assert.deepEqual(await store.readStored(own), late)
    assert.equal(await store.readStored(foreign), undefined)
    await send(epoch, entries.slice(2), 'replicate')
    assert.deepEqual(await store.readStored(own), late)
    assert.deepEqual(replica.stats, { applied: 3, hinted: 0, stale: 0, refused: 1 })
  })

  test('goes by the later ring of the two', async () => {
    const { send, keyWhere, ring, store, newer, raise, clock } = await startReplica()
    const engineKey = store.partitioner.engineKey(keyWhere(true))
    const foreign = store.partitioner.engineKey(keyWhere(false))
    const stored = encodeTombstone(encodeVersion(clock.wallMs(), 0, WRITER))
    raise()
    const stale = await send(ring.epoch, [{ engineKey, stored }], 'replicate')
    assert.deepEqual([stale.status, stale.epoch], [2, ring.epoch + 1])
    assert.equal(await store.readStored(engineKey), undefined)
    const ahead = await send(ring.epoch + 2, [{ engineKey, stored }], 'replicate')
    assert.equal(ahead.status, 1)
    const both = [
      { engineKey, stored },
      { engineKey: foreign, stored },
    ]
    assert.equal((await send(ring.epoch + 3, both, 'replicate')).status, 3)
    assert.deepEqual(newer, [ring.epoch + 2, ring.epoch + 3])
  })

  test('asks those that send hints to wait, all of them together', async () => {
    const { send, ring, store, clock, slowness } = await startReplica()
    const stored = encodeValue(encodeVersion(clock.wallMs(), 0, WRITER), new Uint8Array(400_000), 0)
    const key = utf8Encode('k0')
    const entries = [{ engineKey: store.partitioner.engineKey(key), stored }]
    const pauseOf = async (messages: number): Promise<number> => {
      clock.advance(10_000)
      let pauseMs = 0
      for (let count = 0; count < messages; count++) {
        pauseMs = (await send(ring.epoch, entries, 'hints')).pauseMs
      }
      return pauseMs
    }
    assert.equal(await pauseOf(1), 0)
    // 4 MB at 16 MiB a second, and a tenth of a second before anybody has to wait.
    const pauseMs = await pauseOf(10)
    assert.ok(pauseMs > 130 && pauseMs < 150, `${pauseMs}`)
    // Each takes longer than it should cost: half of the time is for others.
    slowness.ms = 20
    const slowMs = await pauseOf(10)
    assert.ok(slowMs > 110 && slowMs < 130, `${slowMs}`)
    // However slow, a quarter of the usual goes.
    slowness.ms = 60
    const slowestMs = await pauseOf(10)
    assert.ok(slowestMs > 300 && slowestMs < 330, `${slowestMs}`)
  })

  test('refuses what makes no sense', async () => {
    const { replica, store, ring, clock } = await startReplica()
    const context = { from: 'x', epoch: 1, deadlineMs: Number.POSITIVE_INFINITY }
    const stored = encodeTombstone(encodeVersion(clock.wallMs(), 0, WRITER))
    const key = store.partitioner.engineKey(utf8Encode('k'))
    const moved = key.slice()
    moved[1] = (moved[1]! + 1) % 16
    for (const entry of [
      { engineKey: moved, stored },
      { engineKey: Uint8Array.of(0xff, 0xff, 1, 0, 0, 1), stored },
    ]) {
      const body = encodeEntries({ epoch: ring.epoch, entries: [entry] }).slice()
      await assert.rejects(replica.replicate(body, context), ProtocolError)
    }
  })
})

test('a peer keeps its number, and has it before it is told', async t => {
  const random = seededRandom(printSeed(t))
  const { engine } = await startFakeNode()
  const ids = Array.from({ length: 6 }, () => Buffer.from(random.bytes(16)).toString('hex'))
  const numbers = await PeerNumbers.open(engine, '/data')
  const first = numbers.assign(ids.slice(0, 3))
  const second = numbers.assign(ids.slice(1, 5))
  assert.equal(numbers.numberOf(ids[0]!), undefined)
  await Promise.all([first, second])
  engine.failNextWrite = new Error('disk')
  await assert.rejects(numbers.assign(ids))
  assert.equal(numbers.numberOf(ids[5]!), undefined)
  await numbers.assign(ids)
  const again = await PeerNumbers.open(engine.crashed(), '/data')
  for (const [number, nodeId] of ids.entries()) {
    assert.deepEqual([again.numberOf(nodeId), again.nodeAt(number)], [number, nodeId])
  }
})
