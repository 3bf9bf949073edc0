// Goal: the builder records where each op lies, in a buffer that may grow at any add, and the
// frame it finishes is whole.
// Method: random ops against a plain list; ops are read back through the recorded places and, from
// the file, through the reader (wal-replay.test.ts does that for whole logs).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionError } from '../../src/assert.ts'
import { EntryKind, readExpiry } from '../../src/engine/internal-key.ts'
import { WAL_FRAME_HEADER_SIZE, walFrameSize } from '../../src/engine/wal-format.ts'
import { WalFrameBuilder } from '../../src/engine/wal-frame.ts'
import { loadHasher, xxh32 } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

const hasher = await loadHasher()
const PLACE = { firstSequence: 1, syncedUpTo: 64, previousChain: 7, seed: 99 }

interface Op {
  readonly kind: number
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly expiryMs: number
}

describe('WalFrameBuilder', () => {
  test('says where the ops lie, also after it grew and was used before', t => {
    const random = seededRandom(printSeed(t))
    const builder = new WalFrameBuilder(hasher)
    for (let round = 0; round < 50; round++) {
      builder.begin()
      const ops: Op[] = []
      for (let count = 1 + random.below(200); count > 0; count--) {
        const kind = [1, 2, 3, 5][random.below(4)]!
        const op: Op = {
          kind,
          key: kind === EntryKind.logData ? new Uint8Array(0) : random.bytes(1 + random.below(200)),
          value: kind === EntryKind.delete ? new Uint8Array(0) : random.bytes(random.below(20_000)),
          expiryMs: random.below(2 ** 32) * random.below(2 ** 20),
        }
        ops.push(op)
        if (kind === EntryKind.put) builder.addPut(op.key, op.value)
        else if (kind === EntryKind.delete) builder.addDelete(op.key)
        else if (kind === EntryKind.logData) builder.addLogData(op.value)
        else builder.addPutExpiring(op.key, op.value, op.expiryMs)
      }
      check(builder, ops)
    }
  })

  function check(builder: WalFrameBuilder, ops: readonly Op[]): void {
    assert.equal(builder.opCount, ops.length)
    const logData = ops.filter(op => op.kind === EntryKind.logData)
    assert.equal(builder.entryCount, ops.length - logData.length)
    const { bytes } = builder
    for (const [index, op] of ops.entries()) {
      const keyEnd = builder.keyEnd(index)
      const expiring = op.kind === EntryKind.putExpiring
      const userValue = expiring ? keyEnd + 8 : keyEnd
      assert.equal(builder.kind(index), op.kind)
      assert.deepEqual(bytes.slice(builder.keyStart(index), keyEnd), op.key)
      assert.deepEqual(bytes.slice(userValue, builder.valueEnd(index)), op.value)
      if (expiring) assert.equal(readExpiry(bytes, keyEnd), op.expiryMs)
    }
  }

  test('a finished frame ends with its sum and zeros, whatever the buffer held', () => {
    const builder = new WalFrameBuilder(hasher)
    for (const size of [1000, 0, 1, 2, 3, 4, 5, 6, 7, 8, 300]) {
      builder.begin()
      builder.addPut(Uint8Array.of(255), new Uint8Array(size).fill(255))
      const end = builder.size
      const length = builder.finish(PLACE)
      assert.equal(length, walFrameSize(end - WAL_FRAME_HEADER_SIZE))
      assert.equal(length % 8, 0)
      const { bytes } = builder
      const view = new DataView(bytes.buffer)
      assert.equal(view.getUint32(36, true), xxh32(bytes, 0, 36, PLACE.seed))
      assert.equal(builder.chain, xxh32(bytes, 40, end, view.getUint32(36, true)))
      assert.equal(view.getUint32(end, true), builder.chain)
      const padding = bytes.subarray(end + 4, length)
      assert.deepEqual(padding, new Uint8Array(padding.length))
    }
  })

  test('an empty frame is refused', () => {
    const builder = new WalFrameBuilder(hasher)
    builder.begin()
    assert.throws(() => builder.finish(PLACE), AssertionError)
  })
})
