// Goal: the writer claims as durable only what a sync covered, never writes or believes anything
// after a failure, and never starts a segment while the one before is incomplete.
// Method: a simulated disk whose asynchronous calls finish when the test says so, and one that
// fails on demand; what reaches the disk is counted.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionError } from '../../src/assert.ts'
import { isShortage } from '../../src/engine/io-failure.ts'
import { WAL_HEADER_SIZE } from '../../src/engine/wal-format.ts'
import { WalFrameBuilder } from '../../src/engine/wal-frame.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { type CallKind, MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { createSegment } from '../support/wal-script.ts'

const hasher = await loadHasher()
const databaseId = new Uint8Array(16)

function frame(valueSize = 10): WalFrameBuilder {
  const builder = new WalFrameBuilder(hasher)
  builder.begin()
  builder.addPut(Uint8Array.of(1), new Uint8Array(valueSize))
  return builder
}

/** A writer whose asynchronous calls finish one by one, when finish() is called. */
async function manual() {
  const steps: (() => void)[] = []
  let held = false
  const disk = new MemoryFileSystem({
    defer: step => (held ? steps.push(step) : queueMicrotask(step)),
  })
  disk.makeDirectorySync('/db')
  const options = { fileNumber: 2, databaseId, firstSequence: 1, previous: 0 }
  const wal = await createSegment(disk, '/db', options)
  held = true
  async function finish(): Promise<void> {
    steps.shift()!()
    // Two turns: what awaits the call, and what awaits that.
    await new Promise(resolve => setImmediate(resolve))
  }
  return { disk, wal, finish, steps }
}

describe('WalWriter', () => {
  test('a sync covers what was written before it, not beside it', async () => {
    const { wal, finish } = await manual()
    assert.equal(wal.synced.length, WAL_HEADER_SIZE)
    const first = wal.append(frame(), 1)
    await finish()
    await first
    const { size } = wal
    const sync = wal.sync()
    const second = wal.append(frame(), 2)
    await finish()
    await finish()
    await Promise.all([sync, second])
    assert.equal(wal.synced.length, size)
    assert.ok(wal.size > size, 'both frames are written')
  })

  test('syncs never overlap, and each caller waits for one that covers it', async () => {
    const { wal, finish, steps } = await manual()
    wal.appendSync(frame(), 1)
    const firstSize = wal.size
    const first = wal.sync()
    const same = wal.sync()
    wal.appendSync(frame(), 2)
    let secondDone = false
    const second = wal.sync().then(() => {
      secondDone = true
    })
    assert.equal(steps.length, 1)
    await finish()
    await Promise.all([first, same])
    assert.equal(wal.synced.length, firstSize)
    assert.equal(secondDone, false)
    assert.equal(steps.length, 1)
    await finish()
    await second
    assert.equal(wal.synced.length, wal.size)
    await wal.sync()
    assert.equal(steps.length, 0, 'nothing new is not synced again')
  })

  test('after a failed write or sync every call fails with the first error', async () => {
    for (const kind of ['write', 'sync'] as const) {
      for (const asynchronous of [true, false]) {
        const memory = new MemoryFileSystem()
        const disk = new FailingFileSystem(memory)
        disk.makeDirectorySync('/db')
        const wal = await createSegment(disk, '/db', {
          fileNumber: 2,
          databaseId,
          firstSequence: 1,
          previous: 0,
        })
        wal.appendSync(frame(), 1)
        disk.fail({ fault: 'EIO', kind })
        const { synced } = wal
        let failure: unknown
        try {
          if (asynchronous) await wal.append(frame(), 2)
          else wal.appendSync(frame(), 2)
          await wal.sync()
        } catch (error) {
          failure = error
        }
        assert.ok(failure instanceof Error, 'the fault was met')
        assert.equal(wal.failure, failure)
        assert.equal(wal.synced, synced)
        const calls: CallKind[] = []
        memory.onCall = (_index, call) => calls.push(call)
        await assert.rejects(wal.append(frame(), 3), failure)
        assert.throws(() => wal.appendSync(frame(), 3), failure)
        await assert.rejects(wal.sync(), failure)
        assert.deepEqual(calls, [])
        wal.close()
      }
    }
  })

  test('a sync that succeeds beside a failing write is not believed', async () => {
    const disk = new FailingFileSystem(new MemoryFileSystem())
    disk.makeDirectorySync('/db')
    const options = { fileNumber: 2, databaseId, firstSequence: 1, previous: 0 }
    const wal = await createSegment(disk, '/db', options)
    wal.appendSync(frame(), 1)
    const sync = wal.sync()
    disk.fail({ fault: 'ENOSPC', kind: 'write' })
    assert.throws(() => wal.appendSync(frame(), 2), { code: 'ENOSPC' })
    await assert.rejects(sync, { code: 'ENOSPC' })
    assert.equal(wal.synced.length, WAL_HEADER_SIZE)
  })

  test('room is reserved ahead of small frames, and four times as much ahead of large', async () => {
    for (const asynchronous of [true, false]) {
      const disk = new MemoryFileSystem()
      disk.makeDirectorySync('/db')
      const options = { fileNumber: 2, databaseId, firstSequence: 1, previous: 0 }
      const wal = await createSegment(disk, '/db', { ...options, paddingSize: 512 })
      const path = '/db/000002.wal'
      assert.equal(disk.peek(path).length, WAL_HEADER_SIZE, 'none before the first frame')
      assert.throws(() => wal.appendSync(frame(), 1), AssertionError)
      const sizes = new Set<number>()
      for (let sequence = 1; sequence <= 12; sequence++) {
        const builder = frame(sequence === 12 ? 600 : 10)
        if (asynchronous) await wal.reserve(builder.size)
        else assert.ok(wal.tryReserveSync(builder.size))
        const before = disk.peek(path)
        assert.ok(before.subarray(wal.size).every(byte => byte === 0))
        if (asynchronous) await wal.append(builder, sequence)
        else wal.appendSync(builder, sequence)
        const bytes = disk.peek(path)
        assert.equal(bytes.length, before.length, 'a frame takes no space of its own')
        assert.ok(bytes.subarray(wal.size).every(byte => byte === 0))
        sizes.add(bytes.length)
      }
      assert.deepEqual([...sizes], [512, 1024, 2048])
      assert.ok(wal.hasReserved(frame().size))
    }
  })

  test('a frame of any size fits what was reserved for it', async () => {
    const disk = new MemoryFileSystem()
    disk.makeDirectorySync('/db')
    const options = { fileNumber: 2, databaseId, firstSequence: 1, previous: 0 }
    const wal = await createSegment(disk, '/db', { ...options, paddingSize: 8 })
    for (let sequence = 1; sequence < 100; sequence++) {
      const builder = frame(sequence)
      await wal.reserve(builder.size)
      const { length } = disk.peek('/db/000002.wal')
      wal.appendSync(builder, sequence)
      assert.ok(wal.size <= length)
    }
  })

  for (const fault of ['ENOSPC', 'EDQUOT', 'shortWrite'] as const) {
    test(`${fault} is met before a frame is, harms none, and may end`, async context => {
      const random = seededRandom(printSeed(context))
      const memory = new MemoryFileSystem()
      const disk = new FailingFileSystem(memory)
      disk.makeDirectorySync('/db')
      const options = { fileNumber: 2, databaseId, firstSequence: 1, previous: 0 }
      const wal = await createSegment(disk, '/db', { ...options, paddingSize: 256 })
      await wal.reserve(frame().size)
      wal.appendSync(frame(), 1)
      await wal.sync()
      const rule = disk.fail({ fault, kind: 'write', forever: true })
      const large = frame(2000)
      await assert.rejects(wal.reserve(large.size), (error: unknown) => isShortage(error))
      assert.equal(wal.tryReserveSync(large.size), false)
      assert.equal(wal.failure, undefined)
      await wal.sync()
      assert.equal(wal.synced.length, wal.size)
      const written = memory.peek('/db/000002.wal').slice(0, wal.size)
      for (let round = 0; round < 100; round++) {
        const left = memory.crashClone(random, { keep: 'random', probability: 0 })
        const kept = left.peek('/db/000002.wal')
        assert.deepEqual(kept.slice(0, wal.size), written)
        const isZero = kept.subarray(wal.size).every(byte => byte === 0)
        assert.ok(isZero, 'zeros are durable as well')
      }
      rule.remove()
      assert.equal(wal.tryReserveSync(large.size), false, 'reserve() finds out')
      await wal.reserve(large.size)
      wal.appendSync(large, 2)
      await wal.sync()
      assert.equal(wal.synced.length, wal.size)
    })
  }

  test('an error that is no shortage ends the segment, also when room is reserved', async () => {
    for (const asynchronous of [true, false]) {
      const disk = new FailingFileSystem(new MemoryFileSystem())
      disk.makeDirectorySync('/db')
      const options = { fileNumber: 2, databaseId, firstSequence: 1, previous: 0 }
      const wal = await createSegment(disk, '/db', { ...options, paddingSize: 256 })
      disk.fail({ fault: 'EIO', kind: 'write' })
      if (asynchronous) await assert.rejects(wal.reserve(10), { code: 'EIO' })
      else assert.equal(wal.tryReserveSync(10), false)
      await assert.rejects(wal.reserve(10), { code: 'EIO' })
      await assert.rejects(wal.sync(), { code: 'EIO' })
    }
  })

  test('a segment that could not be made durable is none', async () => {
    for (const kind of ['create', 'write', 'sync', 'syncDirectory'] as const) {
      const disk = new FailingFileSystem(new MemoryFileSystem())
      disk.makeDirectorySync('/db')
      disk.fail({ fault: 'EIO', kind })
      const options = { fileNumber: 2, databaseId, firstSequence: 1, previous: 0 }
      await assert.rejects(createSegment(disk, '/db', options), { code: 'EIO' })
    }
  })

  test('one append at a time, and sequences from the first on', async () => {
    const { wal, finish } = await manual()
    const append = wal.append(frame(), 5)
    await assert.rejects(wal.append(frame(), 6), AssertionError)
    assert.throws(() => wal.appendSync(frame(), 6), AssertionError)
    await finish()
    await append
    assert.throws(() => wal.appendSync(frame(), 0), AssertionError)
    assert.equal(wal.failure, undefined)
  })

  test('a segment is not written to before the one it follows is durable to its end', async () => {
    const { disk, wal, finish } = await manual()
    wal.appendSync(frame(), 1)
    const options = { fileNumber: 3, databaseId, firstSequence: 1, previous: wal }
    const beginning = createSegment(disk, '/db', options)
    for (let call = 0; call < 4; call++) await finish()
    const next = await beginning
    assert.throws(() => next.appendSync(frame(), 2), AssertionError)
    const sync = wal.sync()
    assert.throws(() => next.appendSync(frame(), 2), AssertionError)
    await finish()
    await sync
    wal.appendSync(frame(), 2)
    assert.throws(() => next.appendSync(frame(), 3), AssertionError)
    const last = wal.sync()
    await finish()
    await last
    next.appendSync(frame(), 3)
  })
})
