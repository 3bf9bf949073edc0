// Goal: the oldest entry that a peer was not seen to have is known whatever happened to messages:
// the log is kept for it; and no queue grows without bound, whatever writes ask for.
// Method: a peer that refuses or never answers, and a ring that changes under a message.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { Breaker } from '../../src/cluster/breaker.ts'
import type { DutyLedger } from '../../src/cluster/duty-ledger.ts'
import { HintMaker } from '../../src/cluster/hint-maker.ts'
import type { HintStore } from '../../src/cluster/hint-store.ts'
import type { PeerNumbers } from '../../src/cluster/peer-numbers.ts'
import type { Peers } from '../../src/cluster/peers.ts'
import { encodeAnswer, ReplicaStatus } from '../../src/cluster/replica-message.ts'
import { ReplicaPeer } from '../../src/cluster/replica-peer.ts'
import { type OwedEntry, ReplicaQueue } from '../../src/cluster/replica-queue.ts'
import { ReplicatedWrite } from '../../src/cluster/replicated-write.ts'
import type { Replication } from '../../src/cluster/replication.ts'
import type { RingTable } from '../../src/cluster/ring-table.ts'
import { TimeoutError, UnavailableError } from '../../src/errors.ts'
import { silentLogger } from '../../src/logger.ts'
import { SimClock } from '../support/sim-clock.ts'

const PEER = '1'.repeat(32)

function entryOf(floor: number, partition: number): OwedEntry {
  const write = { acks: undefined, isCancelled: false, wasSent: false }
  const engineKey = Uint8Array.of(0, partition, floor)
  const stored = new Uint8Array(18)
  return { engineKey, stored, floor, sinceMs: 0, isDuty: true, write }
}

test('the oldest entry is known after the ring has changed under its message', async () => {
  const clock = new SimClock()
  const owned = new Set([1, 2])
  const isOwner: RingTable['isOwner'] = partition => owned.has(partition)
  const answers: ((error: Error) => void)[] = []
  const peers = {
    request: () => new Promise((_resolve, reject) => answers.push(reject)),
  } as unknown as Peers
  const nothing = (): void => undefined
  const moved: OwedEntry[] = []
  const queue = new ReplicaQueue({
    ...{ peer: PEER, peers, clock, onProgress: nothing, onNewerEpoch: nothing, onFailure: nothing },
    breaker: new Breaker({ clock, probe: async () => false, onChange: nothing }),
    table: () => ({ ring: { epoch: 1 }, isOwner }) as unknown as RingTable,
    onMoved: entries => void moved.push(...entries),
  })
  const [kept, gone, later] = [entryOf(1, 1), entryOf(2, 2), entryOf(3, 1)]
  queue.push(kept!)
  queue.push(gone!)
  await clock.advanceAsync(1, 1)
  queue.push(later!)
  await clock.advanceAsync(1, 1)
  assert.equal(answers.length, 2, 'two messages are on their way')
  owned.delete(2)
  answers[0]!(new UnavailableError('not now'))
  await clock.advanceAsync(100, 1)
  assert.equal(answers.length, 3, 'what is left of the first went out again')
  assert.deepEqual(moved, [gone])
  assert.equal(queue.oldest, kept)
  assert.deepEqual(
    queue
      .takeAll()
      .flat()
      .sort((a, b) => a.floor - b.floor),
    [kept, later],
  )
  assert.equal(queue.oldest, undefined)
})

test('a late answer counts, and the message is not sent again for it', async () => {
  const clock = new SimClock()
  const messages: { timeoutMs: number; answer: (answer: Uint8Array) => void }[] = []
  let isReceiving = false
  const peers = {
    isReceivingLarge: () => isReceiving,
    request: (_peer: string, _lane: string, _kind: number, _body: Uint8Array, timeoutMs: number) =>
      new Promise((answer, reject) => {
        messages.push({ timeoutMs, answer })
        clock.setTimer(timeoutMs, () => reject(new TimeoutError('no answer')))
      }),
  } as unknown as Peers
  const nothing = (): void => undefined
  const breaker = new Breaker({ clock, probe: async () => false, onChange: nothing })
  const queue = new ReplicaQueue({
    ...{ peer: PEER, peers, clock, onProgress: nothing, onNewerEpoch: nothing, onFailure: nothing },
    ...{ breaker, onMoved: nothing },
    table: () => ({ ring: { epoch: 1 }, isOwner: () => true }) as unknown as RingTable,
  })
  const answer = encodeAnswer({ status: ReplicaStatus.applied, epoch: 1, pauseMs: 0, refused: [] })
  queue.push(entryOf(1, 1))
  await clock.advanceAsync(700, 1)
  assert.equal(messages.length, 1)
  messages[0]!.answer(answer)
  await clock.advanceAsync(1, 1)
  assert.deepEqual([queue.ackedCount, queue.bytes], [1, 0])
  // Who is late again and again is slow all the same, a message that is lost comes once more.
  for (const isOpen of [false, true]) {
    queue.push(entryOf(2, 1))
    await clock.advanceAsync(700, 1)
    assert.equal(breaker.isOpen, isOpen)
    messages.at(-1)!.answer(answer)
    await clock.advanceAsync(1, 1)
  }
  breaker.reset()
  // A second more is given to what takes a second to send, and to what goes behind it.
  queue.push({ ...entryOf(3, 1), stored: new Uint8Array(4 * 1024 * 1024) })
  await clock.advanceAsync(1, 1)
  queue.push(entryOf(4, 1))
  await clock.advanceAsync(4400, 1)
  assert.equal(breaker.isOpen, false)
  await clock.advanceAsync(200, 1)
  assert.equal(breaker.isOpen, true)
  assert.equal(queue.takeAll().flat().length, 2)
  // Who is late for something large that it answers is not slow.
  breaker.reset()
  isReceiving = true
  queue.push(entryOf(5, 1))
  await clock.advanceAsync(5000, 1)
  assert.equal(breaker.isOpen, false)
  isReceiving = false
  await clock.advanceAsync(2000, 1)
  assert.equal(breaker.isOpen, true)
  queue.takeAll()
  breaker.stop()
})

test('what a queue held becomes hints in slices, and the log is held meanwhile', async () => {
  const clock = new SimClock()
  const nothing = (): void => undefined
  const peers = { request: () => new Promise(nothing) } as unknown as Peers
  const queue = new ReplicaQueue({
    ...{ peer: PEER, peers, clock, onProgress: nothing, onNewerEpoch: nothing, onFailure: nothing },
    breaker: new Breaker({ clock, probe: async () => false, onChange: nothing }),
    table: () => ({ ring: { epoch: 1 }, isOwner: () => true }) as unknown as RingTable,
    onMoved: nothing,
  })
  for (let floor = 7; floor < 20_007; floor++) queue.push(entryOf(floor, 1))
  await clock.advanceAsync(1, 1)
  const runs = queue.takeAll()
  assert.deepEqual([queue.bytes, queue.oldest, queue.takeAll()], [0, undefined, []])
  const added: Uint8Array[] = []
  const reserved: number[] = []
  let write: () => void = nothing
  const hints = {
    isFull: () => false,
    add: (_number: number, keys: readonly Uint8Array[]) => {
      for (const key of keys) added.push(key)
      return new Promise<void>(resolve => {
        write = resolve
      })
    },
  }
  const reserve = (floor: number) => ({
    release: () => void reserved.splice(reserved.indexOf(floor), 1),
    ...{ floor: reserved.push(floor) },
  })
  const maker = new HintMaker({
    ...{ hints: hints as unknown as HintStore, ledger: { reserve } as unknown as DutyLedger },
    ...{ numbers: { count: 1 } as unknown as PeerNumbers, clock, logger: silentLogger },
    onHints: nothing,
  })
  let planned = 0
  maker.make(runs, ({ engineKey }, owed) => {
    planned++
    owed.add(0, engineKey)
  })
  for (let before = 0; ; before = planned, await yieldToEventLoop()) {
    assert.ok(planned - before <= 256, `${planned - before} at once`)
    if (planned === 20_000) break
    assert.deepEqual([added.length, reserved, maker.isMaking], [0, [7], true])
  }
  await yieldToEventLoop()
  assert.deepEqual([added.length, reserved, maker.isMaking], [20_000, [7], true])
  write()
  await yieldToEventLoop()
  assert.deepEqual([reserved, maker.isMaking], [[], false])
})

/** A peer that never answers. */
function silentPeer(clock: SimClock, isReceivingLarge = (): boolean => false): ReplicaPeer {
  const nothing = (): void => undefined
  const isThere = (): boolean => true
  const request = (): Promise<never> => new Promise(nothing)
  const link = { isLinked: isThere, isAnswering: isThere, request, isReceivingLarge }
  return new ReplicaPeer({
    ...{ nodeId: PEER, number: 0, peers: link as unknown as Peers, clock },
    ...{ onProgress: nothing, onNewerEpoch: nothing, onFailure: nothing, onMoved: nothing },
    ...{ onGivenUp: nothing, onReturned: nothing },
    liveness: { liveness: () => 'up', onLiveness: () => nothing },
    table: () => ({ ring: { epoch: 1 }, isOwner: () => true }) as unknown as RingTable,
  })
}

/** Bytes that it is sent by writes of a mebibyte, before it gets hints. */
function bytesQueued(isPatient: boolean): number {
  const nothing = (): void => undefined
  const peer = silentPeer(new SimClock())
  let hinted = 0
  const replication = {
    ...{ table: { ring: { epoch: 1 } }, ownersOf: () => [peer], ledger: { holdHere: () => 0 } },
    ...{ hints: { put: () => void hinted++ }, replay: nothing, watch: nothing },
  } as unknown as Replication
  const key = Uint8Array.of(0, 1, 1)
  const stored = new Uint8Array(1024 * 1024)
  for (let count = 0; count < 40; count++) {
    const write = new ReplicatedWrite(replication, { acks: undefined, isPatient, nowMs: 0 })
    write.submitting([key], [stored])
  }
  assert.ok(hinted > 0)
  const { pendingBytes } = peer
  peer.stop()
  return pendingBytes
}

test('a peer that answers nothing but what is large gets hints after a while', async () => {
  for (const [isReceiving, afterMs] of [
    [false, 5000],
    [true, 11_000],
  ] as const) {
    const clock = new SimClock()
    const peer = silentPeer(clock, () => isReceiving)
    peer.push(entryOf(1, 1))
    await clock.advanceAsync(1000)
    peer.push(entryOf(2, 1))
    await clock.advanceAsync(afterMs - 1001)
    peer.sweep(false)
    if (isReceiving) assert.equal(peer.isBreakerOpen, false)
    await clock.advanceAsync(2)
    peer.sweep(false)
    assert.equal(peer.isBreakerOpen, true)
    peer.stop()
  }
})

test('a peer that does not keep up gets hints from some bytes on', () => {
  const mebibytes = [false, true].map(isPatient => Math.round(bytesQueued(isPatient) / 2 ** 20))
  assert.deepEqual(mebibytes, [8, 32])
})
