// Goal: starts are recorded, durably before anybody hears of them; only what most members took
// makes the next one later; what was superseded starts no more; and damage is told.
// Method: a memory store that keeps what was asked of it; starts, copies, confirmations at random.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NodeKey, nodeKey } from '../../src/cluster/partition.ts'
import { type Boot, compareBoots } from '../../src/cluster/peer-hello.ts'
import { StartRecord, supersededWhy } from '../../src/cluster/start-record.ts'
import { CorruptionError, LockedError, VersionMismatchError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { FakeEngine } from '../support/fake-engine.ts'
import { printSeed } from '../support/seed.ts'

const PATH = '/data'
const key = nodeKey(NodeKey.starts)

async function put(engine: FakeEngine, value: Uint8Array): Promise<void> {
  await engine.write([{ type: 'put', key, value, expiryMs: 0 }])
}

function open(engine: FakeEngine, random: Random): Promise<StartRecord> {
  return StartRecord.open(engine, PATH, length => random.bytes(length))
}

test('an old copy never becomes later than what most members took', async t => {
  const random = seededRandom(printSeed(t))
  const engine = new FakeEngine({ wallMs: () => 0 })
  /** As a member remembers them: the last that was met, and an image from before it. */
  let known: Boot | undefined
  let starts = 0
  for (let life = 0; life < 60; life++) {
    const image = await engine.read(key)
    const start = await open(engine, random)
    assert.equal(start.starts, ++starts, 'all starts are counted')
    if (known !== undefined) assert.equal(compareBoots(start.boot, known), 'later')
    if (random.below(3) > 0) continue
    known = start.boot
    if (random.below(4) > 0) await start.confirm()
    const copy = new FakeEngine({ wallMs: () => 0 })
    if (image !== undefined) await put(copy, image)
    for (let attempt = 0; attempt < 5; attempt++) {
      const boot = (await open(copy, random)).boot
      // Within a start that nobody has confirmed a copy shares the attempt.
      const isOfSameAttempt = boot.nonce.slice(0, 16) === known.nonce.slice(0, 16)
      if (!isOfSameAttempt) assert.match(compareBoots(boot, known), /^(earlier|copy)$/)
    }
  }
})

test('what is superseded starts no more, whoever asks, and is not counted', async () => {
  const random = seededRandom(1)
  const engine = new FakeEngine({ wallMs: () => 0 })
  const start = await open(engine, random)
  const why = 'start 5 was met'
  await Promise.all([start.supersede(why), start.confirm(), start.supersede('for another reason')])
  const record = await engine.read(key)
  for (let attempt = 0; attempt < 3; attempt++) {
    await assert.rejects(open(engine, random), (error: Error) => {
      assert.ok(error instanceof LockedError)
      assert.equal(error.message, why)
      return true
    })
  }
  assert.deepEqual(await engine.read(key), record)
  assert.equal(await supersededWhy(engine, PATH), why)
})

test('a count of an earlier build is gone on from, and damage is told', async () => {
  const random = seededRandom(1)
  const engine = new FakeEngine({ wallMs: () => 0 })
  await put(engine, Uint8Array.of(1, 0, 0, 0, 0, 0, 3))
  const { boot, starts } = await open(engine, random)
  assert.deepEqual([boot.generation, starts], [4, 4])
  await put(engine, Uint8Array.of(3, 0, 0, 0, 0, 0, 3))
  await assert.rejects(open(engine, random), VersionMismatchError)
  const whole = [2, ...new Array<number>(25).fill(0)]
  for (const bytes of [[], [1], [0, 0, 0, 0, 0, 0, 3], [...whole, 1], whole.slice(1), [2, 3]]) {
    await put(engine, Uint8Array.from(bytes))
    await assert.rejects(open(engine, random), CorruptionError)
  }
})
