// Goal: a broken promise is found, and a kept one is not called broken.
// Method: a small history for each promise, right and wrong.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { joinEngineKey } from '../../src/cluster/partition.ts'
import { PeerMessage, type Peers } from '../../src/cluster/peers.ts'
import { encodeForward } from '../../src/cluster/replica-message.ts'
import { nodeIdOf } from '../../src/cluster/ring-member.ts'
import type { Store } from '../../src/cluster/store.ts'
import { encodeValue } from '../../src/cluster/versioned-value.ts'
import type { Db } from '../../src/engine/index.ts'
import { OverloadedError } from '../../src/errors.ts'
import type { Consistency, Durability } from '../../src/key-value-store.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { checkBatches } from '../support/simulation/check-batches.ts'
import { checkReads } from '../support/simulation/check-reads.ts'
import { RingWatch } from '../support/simulation/check-rings.ts'
import { checkScans, liveRecords } from '../support/simulation/check-scans.ts'
import { checkStoredRecords } from '../support/simulation/check-stored.ts'
import { checkVersions } from '../support/simulation/check-versions.ts'
import { History, type Outcome, type Write } from '../support/simulation/history.ts'
import type { CrashKind } from '../support/simulation/machine.ts'
import { trueWallMs } from '../support/simulation/machine-clock.ts'
import type { ReplicaState, StoredRecord } from '../support/simulation/replica-state.ts'
import type { NodeStart } from '../support/simulation/sim-node.ts'
import { storeTap } from '../support/simulation/store-tap.ts'
import { Violations } from '../support/simulation/violations.ts'

const OWNERS = ['n1', 'n2']
const CLOCK_ERROR_MS = 100

/** A history in which things happen one after another, unless they say otherwise. */
class Script {
  readonly history = new History(() => this.nowMs)
  nowMs = 0

  /** Puts something that expires so long after this. Returns its version. */
  putExpiring(value: string, ttlMs: number, outcome: Outcome = 'ok'): string {
    const timeMs = trueWallMs({ nowMs: this.nowMs })
    const version = Buffer.from(encodeVersion(timeMs, 0, new Uint8Array(8))).toString('hex')
    const terms = { key: 'k', value, client: 'c', consistency: 'quorum', ttlMs } as const
    const write = this.history.begin(terms)
    write.version = version
    this.history.end([write], outcome)
    return version
  }

  write(
    value: string | undefined,
    version: string,
    outcome: Outcome = 'ok',
    consistency: Consistency = 'quorum',
  ): Write {
    const write = this.begin(value, version, consistency)
    this.history.end([write], outcome)
    return write
  }

  begin(value: string | undefined, version: string, consistency: Consistency = 'quorum'): Write {
    const write = this.history.begin({ key: 'k', value, client: 'c', consistency })
    write.version = version
    return write
  }

  read(value: string | undefined, consistency: Consistency = 'quorum', session = false): void {
    const invoked = this.history.nextOrder()
    this.history.read({ key: 'k', value, client: 'c', consistency, session, invoked })
  }

  readViolations(): readonly string[] {
    const violations = new Violations()
    const isStrong = ({ consistency }: { consistency: string }) => consistency !== 'one'
    checkReads({ history: this.history, isStrong, clockErrorMs: CLOCK_ERROR_MS }, violations)
    return violations.all
  }

  /** With these records at the owners. */
  storedViolations(...records: (StoredRecord | undefined)[]): readonly string[] {
    const violations = new Violations()
    const replicas = replicasOf(records)
    const { history } = this
    const nowMs = history.wallMsAt(history.nextOrder())
    checkStoredRecords({ history, replicas, ownersOf: () => OWNERS, nowMs }, violations)
    checkVersions(this.history, replicas, violations)
    return violations.all
  }
}

function replicasOf(records: readonly (StoredRecord | undefined)[]): Map<string, ReplicaState> {
  return new Map(
    OWNERS.map((owner, index) => {
      const record = records[index]
      return [owner, new Map(record === undefined ? [] : [['k', record]])]
    }),
  )
}

function record(value: string | undefined, version: string, bytes = `${value} ${version}`) {
  return { value, version, bytes, expiryMs: 0 }
}

function assertBroken(violations: readonly string[], promise: string): void {
  const promises = violations.map(violation => violation.slice(0, violation.indexOf(':')))
  assert.equal(promises.includes(promise), true, violations.join('\n'))
}

describe('a batch', () => {
  /** Keys that begin alike are of one partition. */
  const partitionOf = (key: string) => key.charCodeAt(0)

  /** One of `a1`, `a2`, a deletion of `a3`, and of `b1`, all of version 5, of unknown outcome. */
  function batchViolations(
    stored: Record<string, StoredRecord>,
    begun?: (history: History) => void,
  ) {
    const { history } = new Script()
    const batch = history.nextBatch()
    const writes = ['a1', 'a2', 'a3', 'b1'].map(key => {
      const value = key === 'a3' ? undefined : `of ${key}`
      const write = history.begin({ key, value, client: 'c', consistency: 'one', batch })
      write.version = '5'
      return write
    })
    history.end(writes, 'unknown')
    begun?.(history)
    const violations = new Violations()
    const state = new Map(Object.entries(stored))
    const replicas = new Map(OWNERS.map(owner => [owner, state]))
    const check = { history, replicas, ownersOf: () => OWNERS, nowMs: 0, partitionOf }
    checkBatches(check, violations)
    return violations.all
  }

  const [a1, a2, gone] = [record('of a1', '5'), record('of a2', '5'), record(undefined, '5')]

  test('is all or none in a partition', () => {
    const broken = 'a batch is all or none in a partition'
    assert.deepEqual(batchViolations({}), [])
    assert.deepEqual(batchViolations({ a1, a2, a3: gone }), [])
    assert.deepEqual(batchViolations({ b1: record('of b1', '5') }), [])
    assertBroken(batchViolations({ a1, a2 }), broken)
    assertBroken(batchViolations({ a1, a3: gone }), broken)
    assertBroken(batchViolations({ a1, a2, a3: record('old', '4') }), broken)
  })

  test('may be overwritten, deleted and purged since, in parts', () => {
    const later = record('later', '6')
    assert.deepEqual(batchViolations({ a1, a2: later, a3: later }), [])
    assert.deepEqual(batchViolations({ a2: record('old', '4') }), [])
    const purged = (history: History) => history.stored('a3', '5')
    assert.deepEqual(batchViolations({ a1, a2 }, purged), [])
    assertBroken(
      batchViolations({ a1, a2 }, history => history.stored('a3', '4')),
      'a batch is all or none in a partition',
    )
  })
})

describe('what is stored', () => {
  test('an acknowledged write, or a later one', () => {
    const script = new Script()
    script.write('a', '1')
    const [a, b] = [record('a', '1'), record('b', '2')]
    assert.deepEqual(script.storedViolations(a, a), [])
    assertBroken(script.storedViolations(a, undefined), 'no write is lost')
    assertBroken(script.storedViolations(b, b), 'what is stored was written')
    script.write('b', '2', 'unknown')
    assert.deepEqual(script.storedViolations(b, b), [])
    assert.deepEqual(script.storedViolations(a, a), [])
    assertBroken(script.storedViolations(a, b), 'all replicas are equal')
    script.write('c', '3')
    assertBroken(script.storedViolations(b, b), 'no write is lost')
  })

  test('an acknowledged write that a node versioned was stored, or had lost by then', () => {
    const acknowledged = (...stored: ('before' | 'meanwhile' | 'after')[]) => {
      const script = new Script()
      const { history } = script
      if (stored.includes('before')) history.stored('k')
      const terms = { key: 'k', client: 'c', consistency: 'one', isVersionedByNode: true } as const
      const write = history.begin({ ...terms, value: 'a' })
      if (stored.includes('meanwhile')) history.stored('k')
      history.end([write], 'ok')
      if (stored.includes('after')) history.stored('k')
      return script.storedViolations()
    }
    assertBroken(acknowledged(), 'no write is lost')
    assertBroken(acknowledged('before', 'after'), 'no write is lost')
    assert.deepEqual(acknowledged('before', 'meanwhile'), [])
  })

  test('what asked for less than sync at one counts until a crash that may take it', () => {
    const lost = (durability: Durability, consistency: Consistency, ...crashes: CrashKind[]) => {
      const script = new Script()
      const { history } = script
      script.write('a', '1')
      const terms = { key: 'k', client: 'c', consistency, durability } as const
      const write = history.begin({ ...terms, value: 'b' })
      write.version = '2'
      history.end([write], 'ok')
      script.read('b')
      for (const kind of crashes) history.crashed(kind)
      script.read('a')
      const a = record('a', '1')
      return [...script.storedViolations(a, a), ...script.readViolations()]
    }
    assert.deepEqual(lost('none', 'one', 'kill'), [])
    assert.deepEqual(lost('interval', 'one', 'power'), [])
    for (const kept of [
      lost('none', 'one'),
      lost('interval', 'one', 'kill'),
      lost('sync', 'one', 'power'),
      lost('none', 'quorum', 'power'),
    ]) {
      assertBroken(kept, 'no write is lost')
      assertBroken(kept, 'strong reads do not go back')
    }
  })

  test('a write that was rejected is nowhere', () => {
    const script = new Script()
    script.write('a', '1', 'rejected')
    assert.deepEqual(script.storedViolations(), [])
    const a = record('a', '1')
    assertBroken(script.storedViolations(a, a), 'a rejected write has no effect')
  })

  test('a deleted key stays deleted, with or without its tombstone', () => {
    const script = new Script()
    script.write('a', '1')
    script.write(undefined, '2')
    const [a, tombstone] = [record('a', '1'), record(undefined, '2')]
    assert.deepEqual(script.storedViolations(tombstone, tombstone), [])
    assert.deepEqual(script.storedViolations(), [])
    assertBroken(script.storedViolations(a, a), 'no deleted key returns')
  })

  test('what has expired may be purged, and its expiry is one moment', () => {
    const script = new Script()
    const version = script.putExpiring('a', 1000)
    const expiryMs = trueWallMs({ nowMs: 1000 })
    const stored = { ...record('a', version), expiryMs }
    assert.deepEqual(script.storedViolations(stored, stored), [])
    assertBroken(script.storedViolations(), 'no write is lost')
    const longer = { ...stored, expiryMs: expiryMs + 1 }
    assertBroken(script.storedViolations(longer, longer), 'an expiry is one moment')
    script.nowMs = 1000
    assert.deepEqual(script.storedViolations(), [])
  })

  test('a deletion that a node versioned stays, and one of nobody is none', () => {
    const deleted = (tombstones: readonly string[], rival?: Outcome) => {
      const script = new Script()
      const { history } = script
      const terms = { key: 'k', client: 'c', value: undefined, consistency: 'quorum' } as const
      const others =
        rival === undefined ? [] : [history.begin({ ...terms, isVersionedByNode: true })]
      if (rival !== undefined && rival !== 'pending') history.end(others, rival)
      script.write('a', '1')
      const deletion = history.begin({ ...terms, isVersionedByNode: true })
      for (const version of tombstones) history.stored('k', version)
      history.end([deletion], 'ok')
      return { script, deletion }
    }
    const a = record('a', '1')
    for (const rival of [undefined, 'rejected'] as const) {
      const { script, deletion } = deleted(['2'], rival)
      assert.equal(deletion.version, '2')
      assertBroken(script.storedViolations(a, a), 'no deleted key returns')
      script.read('a')
      assertBroken(script.readViolations(), 'strong reads do not go back')
      const tombstone = record(undefined, '2')
      assert.deepEqual(script.storedViolations(tombstone, tombstone), [])
      assert.deepEqual(script.storedViolations(), [])
    }
    for (const rival of ['unknown', 'pending'] as const) {
      const { script, deletion } = deleted(['2'], rival)
      assert.equal(deletion.version, undefined)
      assert.deepEqual(script.storedViolations(a, a), [])
      script.read(undefined)
      assert.deepEqual(script.readViolations(), [])
    }
    assertBroken(deleted([]).script.storedViolations(a, a), 'no write is lost')
    const script = new Script()
    script.write('a', '1')
    const tombstone = record(undefined, '2')
    assertBroken(script.storedViolations(tombstone, tombstone), 'what is stored was written')
  })

  test('a version is of one write, and of the same bytes everywhere', () => {
    const script = new Script()
    script.write('a', '1')
    assertBroken(script.storedViolations(record('a', '2'), undefined), 'a write has one version')
    const other = record('a', '1', 'other bytes')
    const found = script.storedViolations(record('a', '1'), other)
    assertBroken(found, 'versions are a total order')
    script.write('b', '1')
    assertBroken(script.storedViolations(), 'versions are a total order')
  })
})

describe('what is read', () => {
  test('was written before the read ended, by a write that was not rejected', () => {
    const script = new Script()
    script.read('a', 'one')
    assertBroken(script.readViolations(), 'what is read was written')
    script.write('a', '1', 'rejected')
    assertBroken(script.readViolations(), 'what is read was written')
    const late = new Script()
    late.write('a', '1', 'rejected')
    late.read('a', 'one')
    assertBroken(late.readViolations(), 'a rejected write has no effect')
  })

  test('a strong read finds what was acknowledged before it', () => {
    const script = new Script()
    script.write('a', '1')
    script.write('b', '2')
    script.read('b')
    script.read('a', 'one')
    assert.deepEqual(script.readViolations(), [])
    script.read('a')
    assertBroken(script.readViolations(), 'strong reads do not go back')
  })

  test('a strong read finds what a strong read found', () => {
    const script = new Script()
    script.write('a', '1')
    script.begin('b', '2')
    script.read('a')
    script.read('b')
    assert.deepEqual(script.readViolations(), [])
    script.read('a')
    assertBroken(script.readViolations(), 'strong reads do not go back')
  })

  test('a session finds what it wrote, or something later', () => {
    const script = new Script()
    script.write('a', '1', 'ok', 'one')
    script.write('b', '2', 'unknown', 'one')
    script.read('a', 'one', true)
    script.read('b', 'one', true)
    script.write(undefined, '3', 'ok', 'one')
    script.read(undefined, 'one', true)
    script.read('b', 'one')
    assert.deepEqual(script.readViolations(), [])
    script.read('b', 'one', true)
    assertBroken(script.readViolations(), 'a session sees what it wrote')
  })

  test('nothing is found only when it may have been deleted', () => {
    const script = new Script()
    script.read(undefined)
    script.write('a', '1', 'ok', 'one')
    script.read(undefined)
    script.write('b', '2')
    script.begin(undefined, '3')
    script.read(undefined)
    assert.deepEqual(script.readViolations(), [])
    script.write('d', '4')
    script.read(undefined)
    assertBroken(script.readViolations(), 'strong reads do not go back')
  })

  test('what expires is there until then, and no longer, but for what clocks are wrong by', () => {
    const script = new Script()
    script.putExpiring('a', 1000)
    for (const atMs of [0, 1000 - CLOCK_ERROR_MS - 1, 1000 + CLOCK_ERROR_MS]) {
      script.nowMs = atMs
      script.read('a')
    }
    script.nowMs = 1000 - CLOCK_ERROR_MS
    script.read(undefined)
    assert.deepEqual(script.readViolations(), [])
    script.nowMs = 1000 - CLOCK_ERROR_MS - 1
    script.read(undefined)
    assertBroken(script.readViolations(), 'strong reads do not go back')
    const late = new Script()
    late.putExpiring('a', 1000)
    late.nowMs = 1000 + CLOCK_ERROR_MS + 1
    late.read('a')
    assertBroken(late.readViolations(), 'what has expired is not found')
  })

  test('what has expired hides what is older for ever', () => {
    const script = new Script()
    script.putExpiring('a', 1_000_000)
    script.nowMs = 1
    script.putExpiring('b', 1000)
    script.nowMs = 10_000
    script.read(undefined)
    assert.deepEqual(script.readViolations(), [])
    script.read('a')
    assertBroken(script.readViolations(), 'strong reads do not go back')
  })

  test('a later write with an earlier version is no reason to go back', () => {
    const script = new Script()
    script.write('a', '2')
    script.write('b', '1')
    script.read('a')
    assert.deepEqual(script.readViolations(), [])
    script.read('b')
    assertBroken(script.readViolations(), 'strong reads do not go back')
  })
})

test('a scan finds every live record once, and no other', () => {
  const replicas = replicasOf([record('a', '2'), record('of a former owner', '1')])
  const live = liveRecords(replicas, () => ['n1'])
  const entry = ['k', 'a'] as const
  const found = (entries: readonly (readonly [string, string])[], count: number) => {
    const violations = new Violations()
    checkScans('n1', { entries, count, fromMs: 0, toMs: 0 }, live, violations)
    return violations.all
  }
  assert.deepEqual(found([entry], 1), [])
  for (const entries of [[], [entry, entry], [entry, ['j', 'a'] as const]]) {
    assertBroken(found(entries, 1), 'scans find what is stored')
  }
  assertBroken(found([entry], 2), 'scans find what is stored')

  const later = { ...record('a', '2'), expiryMs: 50_000 }
  const foundAt = (atMs: number, entries: readonly (readonly [string, string])[]) => {
    const violations = new Violations()
    const times = { fromMs: atMs, toMs: atMs }
    const survey = { entries, count: entries.length, ...times }
    checkScans('n1', survey, new Map([['k', later]]), violations)
    return violations.all
  }
  assert.deepEqual([...foundAt(50_000, []), ...foundAt(50_000, [entry])], [])
  assertBroken(foundAt(40_000, []), 'scans find what is stored')
  assertBroken(foundAt(60_000, [entry]), 'scans find what is stored')
})

test('there is one ring an epoch, and no node goes back', () => {
  const violations = new Violations()
  const watch = new RingWatch(violations)
  watch.saw('n1', 'c', 1, 'ring')
  watch.saw('n2', 'c', 1, 'ring')
  watch.saw('n1', 'c', 2, 'next')
  assert.deepEqual(violations.all, [])
  watch.saw('n2', 'c', 2, 'another')
  assertBroken(violations.all, 'one ring an epoch')
  watch.saw('n1', 'c', 1, 'ring')
  assertBroken(violations.all, 'epochs ascend')
})

test('the last version under which a write was passed on is its own, until it is stored', () => {
  const history = new History(() => 0)
  const tap = storeTap({ history, violations: new Violations(), nowMs: () => 0 })
  const request = () => Promise.resolve(new Uint8Array(0))
  const given = { options: {}, environment: {} } as unknown as NodeStart
  const { seams } = tap(given, 'n1').environment
  const peers = seams!.peers!({ request } as unknown as Peers)
  const key = joinEngineKey(1, utf8Encode('k'))
  const pass = (timeMs: number) => {
    const version = encodeVersion(timeMs, 0, new Uint8Array(8))
    const entries = [{ engineKey: key, stored: encodeValue(version, utf8Encode('a'), 0) }]
    const body = encodeForward({ epoch: 1, entries, consistencyCode: 1, durabilityCode: 0 })
    void peers.request(nodeIdOf(new Uint8Array(16)), 'data', PeerMessage.forwardWrite, body, 1)
    return Buffer.from(version).toString('hex')
  }
  const terms = { key: 'k', client: 'c', consistency: 'one', isVersionedByNode: true } as const
  const write = history.begin({ ...terms, value: 'a' })
  pass(5)
  const last = pass(6)
  assert.equal(write.version, last)
  write.isStored = true
  pass(7)
  assert.equal(write.version, last)
})

test('a node stores no earlier version over a later one, and tells of what it versioned', async () => {
  const violations = new Violations()
  const history = new History(() => 0)
  let isRefusing = false
  const write = async (): Promise<void> => {
    if (isRefusing) throw new OverloadedError('no room', 1)
  }
  const seams = { store: () => ({ write }) as unknown as Store }
  const tap = storeTap({ history, violations, nowMs: () => 0 })
  const given = { options: {}, environment: { seams } } as unknown as NodeStart
  const store = tap(given, 'n1').environment.seams!.store!(undefined as unknown as Db)
  const writer = new Uint8Array(8)
  const put = (name: string, timeMs: number, value: string) => {
    const stored = encodeValue(encodeVersion(timeMs, 0, writer), utf8Encode(value), 0)
    const key = joinEngineKey(1, utf8Encode(name))
    return store.write([{ type: 'put', key, value: stored, expiryMs: 0 }])
  }
  const terms = { key: 'k', client: 'c', consistency: 'one', isVersionedByNode: true } as const
  const begun = history.begin({ ...terms, value: 'a' })
  await put('k', 5, 'a')
  assert.equal(begun.version, Buffer.from(encodeVersion(5, 0, writer)).toString('hex'))
  await put('other', 4, 'b')
  await put('k', 5, 'a')
  isRefusing = true
  await assert.rejects(put('k', 9, 'c'), OverloadedError)
  isRefusing = false
  await put('k', 6, 'd')
  assert.deepEqual(violations.all, [])
  await put('k', 5, 'a')
  assertBroken(violations.all, 'versions of a key do not go back')
  const twice = new Violations()
  const again = storeTap({ history, violations: twice, nowMs: () => 0 })(given, 'n2')
  const second = again.environment.seams!.store!(undefined as unknown as Db)
  const value = encodeValue(encodeVersion(7, 0, writer), utf8Encode('a'), 0)
  const key = joinEngineKey(1, utf8Encode('k'))
  await second.write([{ type: 'put', key, value, expiryMs: 0 }])
  assertBroken(twice.all, 'a write has one version')
})
