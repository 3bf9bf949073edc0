// Goal: a ring comes back as it was, and no damage makes another ring of it.
// Method: the bytes of PROTOCOL.md; random rings there and back; every prefix and every flipped bit
// of one; and bytes with a right checksum that break each rule.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Ring } from '../../src/cluster/ring.ts'
import { beginJoin } from '../../src/cluster/ring-change.ts'
import {
  decodeRingMessage,
  decodeRingRecord,
  encodeRing,
  PHASE_CODES,
  STATE_CODES,
} from '../../src/cluster/ring-format.ts'
import { CorruptionError, ProtocolError, VersionMismatchError } from '../../src/errors.ts'
import { xxh32 } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { readProjectFile } from '../support/project-files.ts'
import { anyStep, randomMember, ringOf, specs } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'

const page = readProjectFile('src/cluster/PROTOCOL.md')

/** The ring of the page's example, and its bytes. */
const EXAMPLE = {
  epoch: 9,
  clusterId: 'cc'.repeat(16),
  phase: 'readOld',
  partitionCount: 1024,
  replicationFactor: 3,
  virtualNodes: 128,
  members: [
    {
      nodeId: '11'.repeat(16),
      tokenId: '11'.repeat(16),
      tokenSalt: 0,
      clientAddress: '10.0.0.1:7700',
      peerAddress: '',
      rack: 'a',
      weight: 1,
      state: 'normal',
    },
    {
      nodeId: '22'.repeat(16),
      tokenId: '22'.repeat(16),
      tokenSalt: 0x0102,
      clientAddress: '',
      peerAddress: '[::1]:1',
      rack: '',
      weight: 2,
      state: 'joining',
    },
  ],
  removedIds: ['33'.repeat(16)],
} satisfies Ring

function exampleBytes(): Uint8Array {
  const [, block] = /^```hex ring\n([\s\S]*?)^```$/m.exec(page) ?? []
  assert.ok(block !== undefined, 'the page has the example')
  const lines = block.trimEnd().split('\n')
  const hex = lines.map(line => /^(?:[0-9a-f]{2} )*[0-9a-f]{2}(?= {2}|$)/.exec(line)![0])
  return Uint8Array.from(Buffer.from(hex.join('').replaceAll(' ', ''), 'hex'))
}

/** The bytes with the right checksum at their end. */
function sealed(bytes: Uint8Array): Uint8Array {
  const end = bytes.length - 4
  new DataView(bytes.buffer).setUint32(end, xxh32(bytes, 0, end, 0), true)
  return bytes
}

function refuses(bytes: Uint8Array, what: string, message = /./): void {
  assert.throws(
    () => decodeRingRecord(bytes, '/data'),
    error => error instanceof CorruptionError && message.test(error.message),
    what,
  )
  assert.throws(() => decodeRingMessage(bytes, 'a peer'), ProtocolError, what)
}

/** Where the members of the example lie, and its removed id. */
const FIRST = 34
const SECOND = 87
const REMOVED = 133

describe('an encoded ring', () => {
  test('has the documented bytes', () => {
    const bytes = exampleBytes()
    assert.equal(
      Buffer.from(encodeRing(EXAMPLE)).toString('hex'),
      Buffer.from(bytes).toString('hex'),
    )
    assert.deepEqual(decodeRingRecord(bytes, '/data'), EXAMPLE)
    assert.deepEqual(decodeRingMessage(bytes, 'a peer'), EXAMPLE)
  })

  test('comes back as it was', t => {
    const run = fc.property(specs(6), fc.integer(), (spec, ids) => {
      const random = seededRandom(ids)
      let ring = ringOf(random, spec)
      for (let step = 0; step < 10; step++) {
        const bytes = encodeRing(ring)
        const decoded = decodeRingRecord(bytes, '/data')
        assert.deepEqual(decoded, ring)
        assert.ok(Object.isFrozen(decoded) && Object.isFrozen(decoded.members))
        assert.deepEqual(encodeRing(decoded), bytes)
        ring = anyStep(random, ring)
      }
    })
    fc.assert(run, { seed: printSeed(t), numRuns: 60 })
  })

  test('is refused when it is cut, longer or has a flipped bit', () => {
    const bytes = exampleBytes()
    for (let size = 0; size < bytes.length; size++)
      refuses(bytes.subarray(0, size), `cut to ${size}`)
    refuses(new Uint8Array([...bytes, 0]), 'longer')
    refuses(sealed(new Uint8Array([...bytes, 0, 0, 0, 0])), 'longer, with its checksum')
    for (let bit = 8; bit < bytes.length * 8; bit++) {
      const at = bit >>> 3
      refuses(bytes.with(at, bytes[at]! ^ (1 << (bit & 7))), `bit ${bit}`)
    }
  })

  test('of random damage is never another ring', t => {
    const random = seededRandom(printSeed(t))
    const spec = { partitionCount: 64, replicationFactor: 3, virtualNodes: 8, members: [{}, {}] }
    const bytes = encodeRing(beginJoin(ringOf(random, spec), randomMember(random)))
    for (let round = 0; round < 5000; round++) {
      const damaged = bytes.slice()
      for (let count = 1 + random.below(8); count > 0; count--) {
        damaged[1 + random.below(bytes.length - 1)] = random.below(256)
      }
      if (Buffer.compare(damaged, bytes) !== 0) refuses(damaged, `round ${round}`)
    }
  })

  test('of a newer form asks for an upgrade, of none is damaged', () => {
    const bytes = exampleBytes()
    assert.throws(() => decodeRingRecord(bytes.with(0, 2), '/data'), VersionMismatchError)
    assert.throws(() => decodeRingMessage(bytes.with(0, 2), 'a peer'), VersionMismatchError)
    refuses(bytes.with(0, 0), 'form 0')
  })

  test('with a right checksum keeps the rules all the same', () => {
    for (const [at, value, message] of [
      [1, 0, /no phase/],
      [1, 4, /no phase/],
      [1, PHASE_CODES.stable, /stable/],
      [2, 0, /replication factor/],
      [3, 17, /partition count/],
      [3, 255, /partition count/],
      [4, 0, /virtual nodes/],
      [6, 3, /no state|needs/],
      [6, 1, /too many/],
      [8, 2, /needs/],
      [8, 0, /too many/],
      [10, 0, /epoch/],
      [17, 0xff, /2\^53/],
      [FIRST, 0x10, /tokens of nobody/],
      [FIRST + 16, 0x33, /tokens of nobody/],
      [FIRST + 34, 0, /no state/],
      [FIRST + 34, 6, /no state/],
      [FIRST + 34, STATE_CODES.leaving, /at a time/],
      [FIRST + 35, 0, /weight/],
      [FIRST + 35, 65, /weight/],
      [FIRST + 37, 0x80, /address/],
      [FIRST + 37, 0x20, /address/],
      [SECOND + 16, 0x11, /tokens of nobody/],
    ] as const) {
      const bytes = exampleBytes().with(at, value)
      refuses(sealed(bytes), `${value} at ${at}`, message)
    }
  })

  test('whose members or removed ids are not in their order is refused', () => {
    const bytes = exampleBytes()
    const members = [bytes.subarray(SECOND, REMOVED), bytes.subarray(FIRST, SECOND)]
    const parts = [bytes.subarray(0, FIRST), ...members, bytes.subarray(REMOVED)]
    refuses(sealed(Uint8Array.from(Buffer.concat(parts))), 'members', /order/)
    const ids = ['33', '32'].map(digits => Buffer.from(digits.repeat(16), 'hex'))
    const head = bytes.subarray(0, REMOVED).with(8, 2)
    const removed = Uint8Array.from(Buffer.concat([head, ...ids, Buffer.alloc(4)]))
    refuses(sealed(removed), 'removed ids', /order/)
    const sorted = Uint8Array.from(Buffer.concat([head, ...ids.reverse(), Buffer.alloc(4)]))
    assert.equal(decodeRingRecord(sealed(sorted), '/data').removedIds.length, 2)
  })
})
