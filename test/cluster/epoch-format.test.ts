// Goal: messages and records about epochs are read as they were written and as PROTOCOL.md has
// them, and anything else is refused, naming who sent it or where it lies.
// Method: the page's examples both ways; every kind of answer; every cut.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { NO_BALLOT } from '../../src/cluster/ballot.ts'
import {
  type AcceptorAnswer,
  decodeAnswer,
  decodeCommit,
  decodeEpoch,
  decodeProposal,
  decodeProposalRecord,
  encodeAnswer,
  encodeCommit,
  encodeEpoch,
  encodeProposal,
  encodeProposalRecord,
} from '../../src/cluster/epoch-format.ts'
import { encodeRing } from '../../src/cluster/ring-format.ts'
import { CorruptionError, ProtocolError, VersionMismatchError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { readProjectFile } from '../support/project-files.ts'
import { plainRing } from '../support/sim-members.ts'

const page = readProjectFile('src/cluster/PROTOCOL.md')
const ONE = '11'.repeat(16)
const TWO = '22'.repeat(16)
const RING = encodeRing(plainRing(seededRandom(1), 2))

function example(name: string): Uint8Array {
  const [, block] = new RegExp(`^\`\`\`hex ${name}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page) ?? []
  assert.ok(block !== undefined, `the page has the example ${name}`)
  const hex = block.replace(/ {2,}.*$/gm, '').replaceAll(/\s/g, '')
  return new Uint8Array(Buffer.from(hex, 'hex'))
}

const ANSWERS: readonly AcceptorAnswer[] = [
  { type: 'promised', accepted: undefined },
  { type: 'promised', accepted: { ballot: { round: 2, node: TWO }, ring: RING } },
  { type: 'accepted' },
  { type: 'refused', promised: { round: 4, node: TWO } },
  { type: 'decided', ring: RING },
  { type: 'behind', epoch: 8 },
]

describe('epoch format', () => {
  test('the examples of the page are what the code writes and reads', () => {
    const prepare = { epoch: 10, ballot: { round: 3, node: ONE }, ring: undefined }
    assert.deepEqual(encodeProposal(prepare), example('prepare'))
    assert.deepEqual(decodeProposal(example('prepare'), ONE), prepare)
    assert.deepEqual(encodeAnswer(ANSWERS[0]!), example('promised'))
    assert.deepEqual(decodeAnswer(example('promised'), ONE), ANSWERS[0])
    assert.deepEqual(encodeAnswer(ANSWERS[3]!), example('refused'))
    assert.deepEqual(decodeAnswer(example('refused'), ONE), ANSWERS[3])
  })

  test('messages are read as they were written', () => {
    for (const answer of ANSWERS) assert.deepEqual(decodeAnswer(encodeAnswer(answer), ONE), answer)
    const accept = { epoch: 10, ballot: { round: 3, node: ONE }, ring: RING }
    assert.deepEqual(decodeProposal(encodeProposal(accept), ONE), accept)
    assert.equal(decodeEpoch(encodeEpoch(7), ONE), 7)
    assert.deepEqual(decodeCommit(encodeCommit(RING), ONE), RING)
  })

  test('what ends early, or is of another form, is refused and the peer named', () => {
    const prepare = example('prepare')
    const wrong = [...prepare.keys()].map(size => prepare.subarray(0, size))
    for (const bytes of [...wrong, prepare.with(0, 2)]) {
      assert.throws(
        () => decodeProposal(bytes, ONE),
        error => error instanceof ProtocolError && error.message.includes(ONE),
      )
    }
    assert.throws(() => decodeAnswer(Uint8Array.of(1, 6), ONE), ProtocolError)
    assert.throws(() => decodeAnswer(Uint8Array.of(1, 2, 0), ONE), ProtocolError)
    assert.throws(() => decodeEpoch(Uint8Array.of(...encodeEpoch(1), 0), ONE), ProtocolError)
  })

  test('a record is read as it was written, and damage says where', () => {
    const accepted = { ballot: { round: 2, node: TWO }, ring: RING }
    for (const record of [
      { epoch: 3, promised: NO_BALLOT, accepted: undefined },
      { epoch: 3, promised: { round: 9, node: ONE }, accepted },
    ]) {
      const bytes = encodeProposalRecord(record)
      assert.deepEqual(decodeProposalRecord(bytes, '/data'), record)
      assert.throws(
        () => decodeProposalRecord(bytes.subarray(0, 40), '/data'),
        error => error instanceof CorruptionError && error.path === '/data/proposal record',
      )
      assert.throws(() => decodeProposalRecord(bytes.with(0, 2), '/data'), VersionMismatchError)
    }
  })
})
