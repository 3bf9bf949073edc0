// Goal: starts are recorded, durably before anybody hears of them; only what most members took
// makes the next one later; what was superseded starts no more; and damage is told. What is taken
// back is later than all before; a start has a vote when most have taken it; and which starts of
// others are known is kept, however often that fails.
// Method: a memory store that keeps what was asked of it; starts, copies, confirmations at random.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { decodeBoots, KnownBootsKeeper, readKnownBoots } from '../../src/cluster/known-boots.ts'
import { NodeKey, nodeKey } from '../../src/cluster/partition.ts'
import { type Boot, compareBoots } from '../../src/cluster/peer-hello.ts'
import { nodeIdOf, type RingMember } from '../../src/cluster/ring-member.ts'
import { readmittedStarts, StartRecord, supersededWhy } from '../../src/cluster/start-record.ts'
import { TakenStart } from '../../src/cluster/taken-start.ts'
import { CorruptionError, IoError, LockedError, VersionMismatchError } from '../../src/errors.ts'
import { silentLogger } from '../../src/logger.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { FakeEngine } from '../support/fake-engine.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

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
    // Members are told once that is durable.
    const isTaken = random.below(4) > 0 && (await start.confirm())
    known = { ...start.boot, isTaken }
    const copy = new FakeEngine({ wallMs: () => 0 })
    if (image !== undefined) await put(copy, image)
    for (let attempt = 0; attempt < 5; attempt++) {
      const boot = (await open(copy, random)).boot
      // An image of a start that was not taken is told from the directory by its first start, or
      // once the start of the directory is taken.
      const isOfSameAttempt = boot.nonce.slice(0, 16) === known.nonce.slice(0, 16)
      if (isOfSameAttempt && !isTaken && attempt > 0) continue
      assert.match(compareBoots(boot, known), /^(earlier|copy)$/)
      if (isOfSameAttempt && isTaken) assert.equal(compareBoots(known, boot), 'later')
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

test('one image that is taken back again and again is later each time', async t => {
  const random = seededRandom(printSeed(t))
  const engine = new FakeEngine({ wallMs: () => 0 })
  await (await open(engine, random)).confirm()
  const image = (await engine.read(key))!
  let wallMs = 1_800_000_000_000
  let known: Boot | undefined
  for (let time = 0; time < 5; time++) {
    wallMs += 100 + random.below(1e9)
    const copy = new FakeEngine({ wallMs: () => 0 })
    await put(copy, image)
    await put(copy, await readmittedStarts(copy, PATH, wallMs))
    for (let life = random.below(50); life >= 0; life--) {
      const start = await open(copy, random)
      if (known !== undefined) assert.equal(compareBoots(start.boot, known), 'later')
      assert.ok(start.starts < 2 ** 28, 'what profiles have room for')
      known = start.boot
      await start.confirm()
    }
  }
})

test('a start has a vote once most have taken it, and the others had a moment', async () => {
  for (const isThirdThere of [false, true]) {
    const clock = new SimClock()
    const linked = new Set<string>()
    const listeners: ((peer: string, isLinked: boolean) => void)[] = []
    const peers = {
      self: 'a',
      isLinked: (peer: string) => linked.has(peer),
      onLink: (listener: (peer: string, isLinked: boolean) => void) => {
        listeners.push(listener)
        return () => undefined
      },
    }
    let taken = 0
    const members = () => membersOf('a', 'b', 'c')
    const onTaken = (): void => {
      taken++
    }
    const start = new TakenStart({ peers, members, clock, onTaken })
    const link = (peer: string): void => {
      linked.add(peer)
      for (const listener of listeners) listener(peer, true)
    }
    await clock.advanceAsync(10_000)
    assert.deepEqual([taken, start.hasVote], [0, false])
    link('b')
    assert.deepEqual([taken, start.hasVote], [1, false])
    await clock.advanceAsync(199)
    assert.equal(start.hasVote, false)
    if (isThirdThere) link('c')
    else await clock.advanceAsync(2)
    linked.clear()
    assert.deepEqual([taken, start.hasVote], [1, true])
    start.close()
  }
})

test('a start does not wait for a node that is about to join, or is a member no more', async () => {
  const clock = new SimClock()
  const peers = { self: 'a', isLinked: () => false, onLink: () => () => undefined }
  for (const isKnown of [true, false]) {
    let members = [
      ...membersOf('a'),
      { nodeId: 'b', state: isKnown ? 'joining' : 'normal' } as const,
    ]
    const start = new TakenStart({ peers, members: () => members, clock, onTaken: () => undefined })
    const waiting = start.wait(new AbortController().signal)
    await clock.advanceAsync(2000)
    await waiting
    assert.equal(start.hasVote, isKnown, 'who decides alone needs nobody')
    members = membersOf('a')
    start.ringChanged()
    assert.equal(start.hasVote, true)
    start.close()
  }
})

test('while nothing runs nobody can object: a start waits on, and has no vote', async () => {
  const due = new Set<() => void>()
  const clock = Object.assign(new SimClock(), {
    setTimer: (_delayMs: number, callback: () => void) => {
      due.add(callback)
      return () => due.delete(callback)
    },
  })
  /** All machines go on after hours. */
  const wake = async (): Promise<void> => {
    const late = [...due]
    due.clear()
    for (const callback of late) callback()
    await yieldToEventLoop()
  }
  for (const isTaken of [false, true]) {
    const peers = { self: 'a', isLinked: (peer: string) => peer === 'b' && isTaken }
    const start = new TakenStart({
      peers: { ...peers, onLink: () => () => undefined },
      members: () => membersOf('a', 'b', 'c'),
      clock,
      onTaken: () => undefined,
    })
    let serves = false
    const waiting = start.wait(new AbortController().signal).then(() => {
      serves = true
    })
    await wake()
    assert.deepEqual([serves, start.hasVote], [false, false])
    for (let slices = 0; slices < 30; slices++) await wake()
    await waiting
    assert.equal(start.hasVote, isTaken)
    start.close()
    due.clear()
  }
})

test('which starts of others are known is kept, however often that fails', async () => {
  const clock = new SimClock()
  const engine = new FakeEngine({ wallMs: () => 0 })
  const write = engine.write.bind(engine)
  let failures = 0
  engine.write = (...given) =>
    failures-- > 0 ? Promise.reject(new IoError('no room')) : write(...given)
  const keeper = new KnownBootsKeeper({ store: engine, clock, logger: silentLogger })
  const boots = (generation: number): Map<string, Boot> =>
    new Map([
      [nodeId(1), { generation, nonce: nodeId(generation) }],
      [nodeId(2), { generation, nonce: nodeId(generation), isTaken: true }],
    ])
  failures = 3
  keeper.keep(boots(4))
  await clock.advanceAsync(2500)
  assert.equal((await readKnownBoots(engine, PATH)).size, 0)
  await clock.advanceAsync(1000)
  assert.deepEqual(await readKnownBoots(engine, PATH), boots(4))
  failures = 1
  keeper.keep(boots(5))
  keeper.keep(boots(6))
  await clock.advanceAsync(5000)
  assert.deepEqual(await readKnownBoots(engine, PATH), boots(6), 'never what is older')
  await keeper.close()
})

test('what earlier builds knew of others says nothing of who took it; what is none is refused', () => {
  const entry = [
    ...new Array<number>(16).fill(1),
    0,
    0,
    0,
    0,
    0,
    7,
    ...new Array<number>(16).fill(2),
  ]
  const expected = new Map([[nodeId(1), { generation: 7, nonce: nodeId(2) }]])
  assert.deepEqual(decodeBoots(Uint8Array.of(1, ...entry)), expected)
  assert.deepEqual(decodeBoots(Uint8Array.of(2, ...entry, 0)), expected)
  for (const bytes of [[], [0], [3], [1, 0], [2, ...entry], [2, ...entry, 2], [1, ...entry, 0]]) {
    assert.equal(decodeBoots(Uint8Array.from(bytes)), undefined)
  }
})

function nodeId(digit: number): string {
  return nodeIdOf(new Uint8Array(16).fill(digit))
}

function membersOf(...ids: string[]): Pick<RingMember, 'nodeId' | 'state'>[] {
  return ids.map(id => ({ nodeId: id, state: 'normal' }))
}
