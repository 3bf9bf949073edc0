// Goal: messages about writes come out as they went in, and bytes that are none are a typed error.
// Method: random messages; every prefix of them and every changed byte.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes, DecodeError } from '../../src/bytes.ts'
import { DutyRuns, decodeDuties, encodeDuties } from '../../src/cluster/duty-format.ts'
import {
  dirtyKey,
  dirtyPartition,
  hintedKey,
  hintedPeer,
  hintKey,
  hintRange,
} from '../../src/cluster/hint-format.ts'
import { isNodeKey } from '../../src/cluster/partition.ts'
import {
  decodeAnswer,
  decodeEntries,
  decodeForward,
  encodeAnswer,
  encodeEntries,
  encodeForward,
} from '../../src/cluster/replica-message.ts'
import { ProtocolError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

function randomEntries(random: Random) {
  return Array.from({ length: random.below(5) }, () => ({
    engineKey: random.bytes(3 + random.below(200)),
    stored: random.bytes(random.below(300)),
  }))
}

/** Nothing but a ProtocolError, and most often that. */
function checkDamage(bytes: Uint8Array, decode: (bytes: Uint8Array) => unknown, random: Random) {
  for (let size = 0; size < bytes.length; size++) {
    assert.throws(() => decode(bytes.subarray(0, size)), ProtocolError)
  }
  for (let round = 0; round < 50; round++) {
    const damaged = bytes.slice()
    damaged[random.below(damaged.length)] = random.below(256)
    try {
      decode(damaged)
    } catch (error) {
      assert.ok(error instanceof ProtocolError, String(error))
    }
  }
}

describe('messages about writes', () => {
  test('come out as they went in, or as an error', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 50; round++) {
      const entries = { epoch: 1 + random.below(1000), entries: randomEntries(random) }
      const bytes = Uint8Array.from(encodeEntries(entries))
      assert.deepEqual(decodeEntries(bytes), entries)
      checkDamage(bytes, decodeEntries, random)
      const forward = { ...entries, consistencyCode: random.below(4), durabilityCode: 2 }
      assert.deepEqual(decodeForward(encodeForward(forward)), forward)
      const answer = {
        status: (1 + random.below(3)) as 1 | 2 | 3,
        epoch: random.below(2 ** 31) * 2 ** 20,
        pauseMs: random.below(1000),
        refused: Array.from({ length: random.below(4) }, () => random.below(1000)),
      }
      const answered = Uint8Array.from(encodeAnswer(answer))
      assert.deepEqual(decodeAnswer(answered), answer)
      checkDamage(answered, decodeAnswer, random)
    }
  })

  test('duties are runs of operations', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 200; round++) {
      const lists = [[], [1], [0, 70], [65_534]]
      const owed = Array.from({ length: random.below(40) }, () => lists[random.below(4)]!)
      const duties = new DutyRuns(300)
      for (const peers of owed) duties.add(peers)
      const { encoded } = duties
      assert.equal(
        encoded === undefined,
        owed.every(peers => peers.length === 0),
      )
      if (encoded === undefined) continue
      const { runs, epoch } = decodeDuties(encoded)
      assert.equal(epoch, 300)
      assert.deepEqual(
        runs.flatMap(({ count, peers }) => Array.from({ length: count }, () => peers)),
        owed,
      )
      assert.ok(runs.length <= owed.length)
    }
    assert.throws(() => decodeDuties(Uint8Array.of(2)), DecodeError)
    const whole = encodeDuties({ epoch: 9, runs: [{ count: 1, peers: [1, 2] }] })
    assert.throws(() => decodeDuties(whole.subarray(0, whole.length - 1)), DecodeError)
  })

  test('hints of a peer are one range, and no node key', () => {
    const engineKey = Uint8Array.of(0x7f, 0xff, 0xff, 0xff)
    for (const peer of [0, 1, 255, 256, 65_534]) {
      const key = hintKey(peer, engineKey)
      const { gte, lt } = hintRange(peer)
      assert.ok(compareBytes(key, gte) >= 0 && compareBytes(key, lt) < 0)
      assert.ok(compareBytes(hintKey(peer + 1, Uint8Array.of(0)), lt) > 0)
      assert.deepEqual([hintedKey(key), hintedPeer(key), isNodeKey(key)], [engineKey, peer, false])
      assert.equal(dirtyPartition(dirtyKey(peer, 1023)), 1023)
    }
  })
})
