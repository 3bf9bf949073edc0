// Goal: a node acts on a ring only once it is durable, its epoch only grows, and what cannot be the
// next ring of its cluster is refused.
// Method: a store whose writes are let through one by one and can fail; histories of a cluster that
// come in any order and at the same time; every refusal; real nodes over a restart.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CurrentRing } from '../../src/cluster/current-ring.ts'
import { startNode } from '../../src/cluster/index.ts'
import type { NodeIdentity } from '../../src/cluster/node-identity.ts'
import { createRing, type Ring } from '../../src/cluster/ring.ts'
import { beginJoin, finish, initRing, moveReads } from '../../src/cluster/ring-change.ts'
import { decodeRingRecord, encodeRing } from '../../src/cluster/ring-format.ts'
import { nodeIdOf } from '../../src/cluster/ring-member.ts'
import type { RingTable } from '../../src/cluster/ring-table.ts'
import { RingUptake } from '../../src/cluster/ring-uptake.ts'
import type { StorePut } from '../../src/cluster/store.ts'
import { open } from '../../src/engine/index.ts'
import {
  CorruptionError,
  IoError,
  KvError,
  ProtocolError,
  VersionMismatchError,
} from '../../src/errors.ts'
import type { Durability } from '../../src/key-value-store.ts'
import { silentLogger } from '../../src/logger.ts'
import { connect } from '../../src/net/index.ts'
import { seededRandom } from '../../src/random.ts'
import { FakeEngine } from '../support/fake-engine.ts'
import { anyStep, randomMember } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const IDENTITY: NodeIdentity = {
  nodeId: new Uint8Array(16).fill(0x11),
  clusterId: new Uint8Array(16).fill(0xcc),
  partitionCount: 64,
  createdMs: 0,
}
const NODE_ID = nodeIdOf(IDENTITY.nodeId)
const RING_KEY = Uint8Array.of(4)

/** Writes wait until they are let through. */
class GatedEngine extends FakeEngine {
  isGated = false
  readonly durabilities: (Durability | undefined)[] = []
  #gates: (() => void)[] = []

  override async write(
    operations: readonly StorePut[],
    options?: { readonly durability?: Durability | undefined },
  ): Promise<void> {
    this.durabilities.push(options?.durability)
    if (this.isGated) await new Promise<void>(resolve => this.#gates.push(resolve))
    await super.write(operations)
  }

  letThrough(): void {
    this.isGated = false
    for (const open of this.#gates) open()
    this.#gates = []
  }
}

function newEngine(): GatedEngine {
  return new GatedEngine({ wallMs: () => 0 })
}

function opened(engine: FakeEngine): Promise<CurrentRing> {
  return CurrentRing.open(engine, '/data', IDENTITY, '')
}

/** The ring that a start after a crash right now would find. */
async function durableRing(engine: FakeEngine): Promise<Ring> {
  const record = await engine.crashed().read(RING_KEY)
  return decodeRingRecord(record!, '/data')
}

async function engineWith(value: Uint8Array): Promise<FakeEngine> {
  const engine = newEngine()
  await engine.write([{ type: 'put', key: RING_KEY, value, expiryMs: 0 }])
  return engine
}

const random = seededRandom(21)

/** `ring` and the epochs of a join that follow. */
function history(ring: Ring): Ring[] {
  const begun = beginJoin(ring, randomMember(random))
  const moved = moveReads(begun)
  return [ring, begun, moved, finish(moved)]
}

describe('a directory', () => {
  test('without a ring gets epoch 1 with its node alone, once', async () => {
    const engine = newEngine()
    const first = await opened(engine)
    assert.equal(first.ring.epoch, 1)
    assert.equal(first.ring.clusterId, nodeIdOf(IDENTITY.clusterId))
    assert.equal(first.ring.partitionCount, 64)
    assert.deepEqual(
      first.ring.members.map(({ nodeId, state }) => [nodeId, state]),
      [[NODE_ID, 'normal']],
    )
    assert.deepEqual(first.figures(), {
      epoch: 1,
      phase: 'stable',
      members: 1,
      replicationFactor: 3,
      partitionsOwned: 64,
    })
    assert.deepEqual(engine.durabilities, ['sync'])
    assert.deepEqual(await durableRing(engine), first.ring)
    assert.deepEqual((await opened(engine)).ring, first.ring)
    assert.equal(engine.durabilities.length, 1)
  })

  test('with a damaged, foreign or newer one is refused', async () => {
    const { ring, bytes } = await opened(newEngine())
    const foreign = createRing({ ...ring, clusterId: 'dd'.repeat(16) })
    const divided = createRing({ ...ring, partitionCount: 128 })
    for (const [record, expected] of [
      [bytes.with(20, 0), CorruptionError],
      [bytes.subarray(0, 40), CorruptionError],
      [new Uint8Array(0), CorruptionError],
      [encodeRing(foreign), CorruptionError],
      [encodeRing(divided), CorruptionError],
      [bytes.with(0, 2), VersionMismatchError],
    ] as const) {
      await assert.rejects(opened(await engineWith(record)), expected)
    }
  })
})

describe('a later ring', () => {
  test('is current once it is durable, not before', async () => {
    const engine = newEngine()
    const current = await opened(engine)
    const [first, begun] = history(current.ring)
    engine.isGated = true
    const accepted = current.accept(begun!)
    assert.deepEqual(current.ring, first)
    assert.deepEqual(await durableRing(engine), first)
    engine.letThrough()
    assert.equal(await accepted, 'accepted')
    assert.deepEqual(current.ring, begun)
    assert.deepEqual(current.bytes, encodeRing(begun!))
    assert.equal(current.table.ring, current.ring)
    assert.deepEqual(engine.durabilities, ['sync', 'sync'])
    assert.deepEqual(await durableRing(engine), begun)
    assert.deepEqual((await opened(engine)).ring, begun)
  })

  test('that could not be written changes nothing, and may come again', async () => {
    const engine = newEngine()
    const current = await opened(engine)
    const [first, begun] = history(current.ring)
    engine.failNextWrite = new IoError('no space')
    await assert.rejects(current.accept(begun!), IoError)
    assert.deepEqual(current.ring, first)
    assert.equal(await current.accept(begun!), 'accepted')
    assert.deepEqual(current.ring, begun)
  })

  test('is told from the same one and from older ones', async () => {
    const current = await opened(newEngine())
    const [first, begun, moved, done] = history(current.ring)
    assert.equal(await current.accept(first!), 'known')
    assert.equal(await current.accept(moved!), 'accepted')
    assert.equal(await current.accept(begun!), 'stale')
    assert.equal(await current.accept(moved!), 'known')
    assert.equal(await current.accept(done!), 'accepted')
    assert.deepEqual(current.ring, done)
  })

  test('of another cluster, of the same epoch or that forgets somebody is refused', async () => {
    const current = await opened(newEngine())
    const [, begun] = history(current.ring)
    await current.accept(createRing({ ...begun!, removedIds: ['aa'.repeat(16)] }))
    const { ring } = current
    const next = { ...ring, epoch: ring.epoch + 1 }
    for (const [other, message] of [
      [{ ...next, clusterId: 'dd'.repeat(16) }, /cluster d+/],
      [{ ...next, partitionCount: 128 }, /partitions/],
      [{ ...next, virtualNodes: 64 }, /virtual nodes/],
      [{ ...next, removedIds: [] }, /forgets that a+/],
      [{ ...ring, replicationFactor: 2 }, /two rings of epoch/],
    ] as const) {
      await assert.rejects(current.accept(createRing(other)), error => {
        return error instanceof ProtocolError && message.test(error.message)
      })
      assert.equal(current.ring, ring)
    }
  })

  test('in any order, at the same time and with failures only ever raises the epoch', async t => {
    const choices = seededRandom(printSeed(t))
    for (let round = 0; round < 60; round++) {
      const engine = newEngine()
      const current = await opened(engine)
      const rings = [current.ring]
      while (rings.length < 10) rings.push(anyStep(choices, rings.at(-1)!))
      let highest = 1
      let seen = 1
      const look = (): void => {
        assert.ok(current.ring.epoch >= seen)
        seen = current.ring.epoch
      }
      const offers = Array.from({ length: 12 }, () => rings[choices.below(rings.length)]!)
      const work = offers.map(async ring => {
        if (choices.below(4) === 0) engine.failNextWrite = new IoError('no space')
        try {
          const verdict = await current.accept(ring)
          look()
          assert.ok(current.ring.epoch >= ring.epoch)
          if (verdict === 'accepted') highest = Math.max(highest, ring.epoch)
        } catch (error) {
          assert.ok(error instanceof IoError, String(error))
          look()
        }
      })
      await Promise.all(work)
      assert.equal(current.ring.epoch, highest)
      assert.deepEqual(await durableRing(engine), current.ring)
    }
  })
})

test('what could not be taken up is tried again, with the ring that is current by then', async () => {
  const clock = new SimClock()
  const tables = [1, 2, 3].map(epoch => ({ ring: { epoch } }) as unknown as RingTable)
  let tell: () => void = () => undefined
  const onChange = (listener: () => void) => {
    tell = listener
    return () => {
      tell = () => undefined
    }
  }
  const ring = { table: tables[0]!, onChange }
  let error: Error | undefined = new IoError('no space left on the disk')
  const tried: number[] = []
  const told: string[] = []
  const uptake = new RingUptake({
    ...{ ring: ring as unknown as CurrentRing, clock },
    logger: { ...silentLogger, error: message => void told.push(message) },
    changeRing: async table => {
      tried.push(table.ring.epoch)
      if (error !== undefined) throw error
    },
  })
  ring.table = tables[1]!
  tell()
  await clock.advanceAsync(1000, 10)
  assert.deepEqual(tried, [2, 2, 2], 'less and less often')
  ring.table = tables[2]!
  await clock.advanceAsync(1000, 10)
  error = undefined
  await clock.advanceAsync(60_000, 100)
  assert.deepEqual(tried, [2, 2, 2, 3, 3])
  assert.equal(told.length, 4)
  assert.match(told[0]!, /ring before the current one; it is tried again$/)
  error = new TypeError('a bug')
  tell()
  uptake.stop()
  tell()
  await clock.advanceAsync(60_000, 100)
  assert.equal(tried.length, 6)
})

test('whoever listens hears of each change once it is current, until he stops', async () => {
  const current = await opened(newEngine())
  const heard: [number, number][] = []
  const stop = current.onChange(ring => heard.push([ring.epoch, current.ring.epoch]))
  await current.moveTo('127.0.0.1:1')
  await current.moveTo('127.0.0.1:1')
  await current.moveTo('127.0.0.1:2')
  stop()
  await current.moveTo('127.0.0.1:3')
  assert.deepEqual(heard, [
    [2, 2],
    [3, 3],
  ])
})

describe('the client address', () => {
  test('of a node without peers is kept, an epoch a change', async () => {
    const engine = newEngine()
    const current = await opened(engine)
    await current.moveTo('127.0.0.1:1')
    await current.moveTo('127.0.0.1:1')
    assert.equal(current.ring.epoch, 2)
    assert.equal(current.ring.members[0]!.clientAddress, '127.0.0.1:1')
    await (await opened(engine)).moveTo('[::1]:2')
    assert.equal((await durableRing(engine)).epoch, 3)
  })

  test('is nothing that a node with peers, or one that has left, decides alone', async () => {
    const current = await opened(newEngine())
    const done = history(current.ring).at(-1)!
    await current.accept(done)
    await current.moveTo('127.0.0.1:1')
    assert.deepEqual(current.ring, done)
    const alone = done.members.filter(({ nodeId }) => nodeId !== NODE_ID)
    const members = alone.map(member => ({ ...member, state: 'normal' }) as const)
    const without = { ...done, epoch: 9, members, removedIds: [NODE_ID] }
    await current.accept(createRing(without))
    await current.moveTo('127.0.0.1:1')
    assert.equal(current.ring.epoch, 9)
    assert.equal(current.figures().partitionsOwned, 0)
  })
})

test('a node has its ring over restarts, also when its directory is older than rings', async t => {
  const directory = temporaryDirectory({ after: remove => t.after(async () => remove()) })
  const first = await startNode({ directory, port: 0, partitionCount: 16 })
  const { port } = first.address
  const client = await connect(`kv://127.0.0.1:${port}`)
  assert.deepEqual(await client.ringMap(), encodeRing(first.ring))
  await client.close()
  assert.equal(first.ring.members[0]!.clientAddress, `127.0.0.1:${port}`)
  const { node } = first.stats() as { node: { ring: unknown } }
  const phase = 'stable'
  const figures = { epoch: 2, phase, members: 1, replicationFactor: 3, partitionsOwned: 16 }
  assert.deepEqual(node.ring, figures)
  await first.close()
  const again = await startNode({ directory, port })
  assert.equal(again.ring.epoch, 2)
  await again.close()
  const db = await open(directory)
  await db.delete(RING_KEY)
  await db.close()
  const older = await startNode({ directory, port })
  assert.equal(nodeIdOf(older.identity.nodeId), older.ring.members[0]!.nodeId)
  assert.equal(older.ring.epoch, 1)
  assert.equal(older.ring.members[0]!.clientAddress, `127.0.0.1:${port}`)
  await older.close()
})

test('a node with the ring of another cluster does not start, and leaves its directory free', async t => {
  const directory = temporaryDirectory({ after: remove => t.after(async () => remove()) })
  const first = await startNode({ directory, port: 0 })
  await first.close()
  const db = await open(directory)
  const initial = initRing(randomMember(random), {
    clusterId: first.ring.clusterId,
    partitionCount: first.ring.partitionCount * 2,
  })
  await db.put(RING_KEY, encodeRing(initial))
  await db.close()
  await assert.rejects(startNode({ directory, port: 0 }), (error: unknown) => {
    return error instanceof KvError && error.code === 'KV_CORRUPTION'
  })
  const after = await open(directory)
  await after.close()
})
