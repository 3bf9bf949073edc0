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
import { NodeKey } from '../../src/cluster/partition.ts'
import { PurgeMarks } from '../../src/cluster/purge-marks.ts'
import {
  CorruptionError,
  InvalidArgumentError,
  IoError,
  VersionMismatchError,
} from '../../src/errors.ts'
import { writeUint48 } from '../../src/write-version.ts'
import { FakeEngine } from '../support/fake-engine.ts'
import { startFakeNode } from '../support/fake-node.ts'

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

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
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
    await assert.rejects(openIdentity(store, options()), (error: unknown) => {
      return (
        error instanceof InvalidArgumentError && /if it was a node, .*restore/.test(error.message)
      )
    })
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

describe('purge record', () => {
  test('raising some writes the record of their 256 partitions, to the byte', async () => {
    const { engine, store } = await startFakeNode({ partitionCount: 512 })
    const marks = await PurgeMarks.open(store, '/data')
    const records = () =>
      engine.rows.flatMap(({ key, value }) =>
        key[0] === NodeKey.purge ? [[hex(key), hex(value)] as const] : [],
      )
    await marks.confirm([257], 0x0123_4567_89ab)
    await marks.advance([257], 0x0123_4567_89aa)
    const none = '0'.repeat(24)
    const group = `${none}0123456789aa0123456789ab${none.repeat(254)}`
    assert.deepEqual(records(), [
      ['09', '02'],
      ['0901', group],
    ])
    await marks.confirm([0], 7)
    assert.deepEqual(records(), [
      ['09', '02'],
      ['0900', `000000000000000000000007${none.repeat(255)}`],
      ['0901', group],
    ])
    const again = await PurgeMarks.open(store, '/data')
    assert.deepEqual([again.markMs(257), again.confirmedMs(0)], [0x0123_4567_89aa, 7])
  })

  test('the record of all partitions is replaced when it is opened, whole or not at all', async () => {
    for (const count of [2, 512]) {
      const { engine, store } = await startFakeNode({ partitionCount: count })
      const bytes = new Uint8Array(1 + 12 * count)
      bytes[0] = 1
      for (let partition = 0; partition < count; partition++) {
        writeUint48(bytes, 1 + 12 * partition, 1000 + partition)
        writeUint48(bytes, 7 + 12 * partition, 5000 + partition)
      }
      const key = Uint8Array.of(NodeKey.purge)
      await engine.write([{ type: 'put', key, value: bytes, expiryMs: 0 }])
      const check = ({ marks }: { marks: PurgeMarks }): void => {
        for (let at = 0; at < count; at++) {
          assert.deepEqual([marks.markMs(at), marks.confirmedMs(at)], [1000 + at, 5000 + at])
        }
      }
      engine.failNextWrite = new IoError('no room')
      await assert.rejects(PurgeMarks.open(store, '/data'), IoError)
      assert.equal(hex((await store.readStored(key))!), hex(bytes))
      const { writes } = engine
      const marks = await PurgeMarks.open(store, '/data')
      assert.equal(engine.writes, writes + 1, 'in one write')
      check({ marks })
      assert.equal(hex((await store.readStored(key))!), '02')
      check({ marks: await PurgeMarks.open(store, '/data') })
      assert.equal(engine.writes, writes + 1, 'once')
    }
  })

  test('a record that is cut short, or of a later form, is refused', async () => {
    for (const [key, value, code] of [
      ['09', '', 'KV_CORRUPTION'],
      ['09', '00', 'KV_CORRUPTION'],
      ['09', '01'.repeat(24), 'KV_CORRUPTION'],
      ['09', '03', 'KV_VERSION_MISMATCH'],
      ['0900', '00'.repeat(23), 'KV_CORRUPTION'],
    ] as const) {
      const { engine, store } = await startFakeNode({ partitionCount: 2 })
      const form = { key: Uint8Array.of(NodeKey.purge), value: Uint8Array.of(2) }
      for (const put of [
        form,
        { key: Buffer.from(key, 'hex'), value: Buffer.from(value, 'hex') },
      ]) {
        await engine.write([{ type: 'put', ...put, expiryMs: 0 }])
      }
      await assert.rejects(PurgeMarks.open(store, '/data'), { code })
    }
  })
})
