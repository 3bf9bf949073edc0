// Goal: a buffer of the pool is never with two at once, and what lies unused stays bounded.
// Method: random holders write their own mark over all of their buffer; every mark is still whole
// when it is given back, whatever was taken, enlarged and given back in between.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BufferPool } from '../../src/engine/buffer-pool.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

const SPARE_MAX = 256 * 1024
const ROUNDS = 3000

test('nobody writes into the buffer of another, and spares are bounded', context => {
  const random = seededRandom(printSeed(context))
  const pool = new BufferPool(SPARE_MAX)
  let held: { bytes: Uint8Array<ArrayBuffer>; mark: number }[] = []
  let reused = 0
  for (let round = 0; round < ROUNDS; round++) {
    const mark = 1 + (round % 255)
    const holder = held[random.below(held.length + 1)]
    if (holder === undefined || held.length < 5) {
      const size = 1 + random.below(2 ** random.below(18))
      const bytes = pool.take(size)
      assert.ok(bytes.length >= size)
      if (bytes.some(byte => byte !== 0)) reused++
      held.push({ bytes: bytes.fill(mark), mark })
    } else {
      assert.ok(holder.bytes.every(byte => byte === holder.mark))
      if (random.below(3) === 0) {
        const { length } = holder.bytes
        const larger = pool.enlarge(holder.bytes, length + 1)
        assert.ok(larger.length > length)
        assert.ok(larger.subarray(0, length).every(byte => byte === holder.mark))
        holder.bytes = larger.fill(holder.mark)
        if (larger.length < SPARE_MAX) continue
      }
      held = held.filter(other => other !== holder)
      pool.giveBack(holder.bytes)
    }
    assert.ok(pool.spareBytes <= SPARE_MAX)
  }
  assert.ok(reused > ROUNDS / 10)
})

test('a buffer is given back once', () => {
  const pool = new BufferPool(SPARE_MAX)
  const bytes = pool.take(5000)
  pool.giveBack(bytes)
  assert.throws(() => pool.giveBack(bytes), /given back once/)
})
