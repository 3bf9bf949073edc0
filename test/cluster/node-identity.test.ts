// Goal: a node is who it was when its directory was made, and a directory that is not its own, was
// made with another partition count, or is newer than this build is refused with a clear error.
// Method: golden bytes, first and later starts over one store, and every cut and newer form.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encodeClockMark, readClockMark, writeClockMark } from '../../src/cluster/clock-mark.ts'
import {
  decodeIdentity,
  encodeIdentity,
  type IdentityOptions,
  openIdentity,
} from '../../src/cluster/node-identity.ts'
import { CorruptionError, InvalidArgumentError, VersionMismatchError } from '../../src/errors.ts'
import { FakeEngine } from '../support/fake-engine.ts'

const IDENTITY = {
  nodeId: new Uint8Array(16).fill(0x11),
  clusterId: new Uint8Array(16).fill(0x22),
  partitionCount: 1024,
  createdMs: 0x0123_4567_89ab,
}

function options(partitionCount?: number): IdentityOptions {
  let calls = 0
  const entropy = (length: number) => new Uint8Array(length).fill(++calls)
  return { path: '/data', partitionCount, wallMs: () => 5000.7, entropy }
}

function newStore(): FakeEngine {
  return new FakeEngine({ wallMs: () => 0 })
}

describe('node identity', () => {
  test('has the documented bytes', () => {
    const hex = `010100000400${'11'.repeat(16)}${'22'.repeat(16)}0123456789ab`
    assert.equal(Buffer.from(encodeIdentity(IDENTITY)).toString('hex'), hex)
    assert.deepEqual(decodeIdentity(Buffer.from(hex, 'hex'), '/data'), {
      ...IDENTITY,
      nodeId: Buffer.from(IDENTITY.nodeId),
      clusterId: Buffer.from(IDENTITY.clusterId),
    })
  })

  test('is made once and kept', async () => {
    const store = newStore()
    const made = await openIdentity(store, options())
    assert.equal(made.partitionCount, 1024)
    assert.equal(made.createdMs, 5000)
    assert.notDeepEqual(made.nodeId, made.clusterId)
    const other = { ...options(1024), entropy: () => assert.fail('an identity is made once') }
    assert.deepEqual(await openIdentity(store, other), made)
  })

  test('of another partition count is refused, and says which it is', async () => {
    const store = newStore()
    assert.equal((await openIdentity(store, options(64))).partitionCount, 64)
    assert.equal((await openIdentity(store, options())).partitionCount, 64)
    await assert.rejects(openIdentity(store, options(1024)), (error: unknown) => {
      return error instanceof InvalidArgumentError && /has 64 partitions/.test(error.message)
    })
    await assert.rejects(openIdentity(newStore(), options(1000)), InvalidArgumentError)
  })

  test('is not made in a database that is not a node', async () => {
    const store = newStore()
    const key = new Uint8Array(3)
    await store.write([{ type: 'put', key, value: key, expiryMs: 0 }])
    await assert.rejects(openIdentity(store, options()), InvalidArgumentError)
    assert.equal(store.writes, 1)
  })

  test('of a newer form is refused, of a longer one accepted, a damaged one is corruption', () => {
    const record = encodeIdentity(IDENTITY)
    assert.throws(() => decodeIdentity(record.with(0, 2), '/data'), VersionMismatchError)
    assert.throws(() => decodeIdentity(record.with(1, 2), '/data'), VersionMismatchError)
    const longer = new Uint8Array(60)
    longer.set(record)
    assert.deepEqual(decodeIdentity(longer, '/data'), IDENTITY)
    for (let size = 0; size < record.length; size++) {
      assert.throws(() => decodeIdentity(record.subarray(0, size), '/data'), CorruptionError)
    }
    assert.throws(() => decodeIdentity(record.with(0, 0), '/data'), CorruptionError)
    assert.throws(() => decodeIdentity(record.with(5, 3), '/data'), CorruptionError)
  })
})

describe('clock mark', () => {
  test('has the documented bytes and comes back', async () => {
    const markMs = 0x0123_4567_89ab
    const hex = '010123456789ab'
    for (const [storedMs, bytes] of [
      [markMs, hex],
      [0, hex],
      [0xcdef_0123_4567, `02${hex.slice(2)}cdef01234567`],
    ] as const) {
      assert.equal(Buffer.from(encodeClockMark({ markMs, storedMs })).toString('hex'), bytes)
    }
    const store = newStore()
    assert.deepEqual(await readClockMark(store, '/data'), { markMs: 0, storedMs: 0 })
    for (const storedMs of [77, 88]) {
      await writeClockMark(store, { markMs: 77, storedMs })
      assert.deepEqual(await readClockMark(store, '/data'), { markMs: 77, storedMs })
    }
  })

  test('that cannot be read is refused', async () => {
    for (const [value, error] of [
      [Uint8Array.of(), CorruptionError],
      [Uint8Array.of(1, 2, 3), CorruptionError],
      [new Uint8Array(7), CorruptionError],
      [new Uint8Array(7).fill(2), CorruptionError],
      [new Uint8Array(13).fill(1), CorruptionError],
      [new Uint8Array(7).fill(3), VersionMismatchError],
    ] as const) {
      const store = newStore()
      await store.write([{ type: 'put', key: Uint8Array.of(2), value, expiryMs: 0 }])
      await assert.rejects(readClockMark(store, '/data'), error)
    }
  })
})
