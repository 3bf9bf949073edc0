// Goal: a message of membership is read as it was written and as PROTOCOL.md has it, and whatever
// else a peer sends is refused with an error that names it.
// Method: the page's example both ways; random messages; every cut and many wrong bytes.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { aliveClaim, type Claim, firstIncarnation } from '../../src/cluster/member-claim.ts'
import type { Profile } from '../../src/cluster/member-profile.ts'
import {
  decodeMembership,
  encodeMembership,
  type MembershipMessage,
} from '../../src/cluster/membership-format.ts'
import { ProtocolError } from '../../src/errors.ts'
import { readProjectFile } from '../support/project-files.ts'

const ONE = '11'.repeat(16)
const TWO = '22'.repeat(16)

const EXAMPLE: MembershipMessage = {
  epoch: 9,
  claims: [
    { node: ONE, status: 'suspect', incarnation: firstIncarnation(3) + 5, accuser: TWO },
    aliveClaim(TWO, firstIncarnation(1)),
  ],
  profiles: [
    {
      node: TWO,
      generation: 1,
      version: 7,
      epoch: 9,
      clientAddress: '10.0.0.1:7700',
      peerAddress: '10.0.0.1:7800',
      states: new Map([[2, 4096]]),
    },
  ],
}

function pageBytes(): Uint8Array {
  const page = readProjectFile('src/cluster/PROTOCOL.md')
  const [, block] = /^```hex membership\n([\s\S]*?)^```$/m.exec(page) ?? []
  assert.ok(block !== undefined, 'the page has the example')
  const hex = block.replace(/ {2,}.*$/gm, '').replaceAll(/\s/g, '')
  return new Uint8Array(Buffer.from(hex, 'hex'))
}

const node = fc.constantFrom(ONE, TWO, '0123456789abcdef'.repeat(2))
const address = fc.constantFrom('', '10.0.0.1:7700', '[::1]:1', `${'h'.repeat(240)}:7700`)
const claim: fc.Arbitrary<Claim> = fc
  .record({
    node,
    status: fc.constantFrom('alive' as const, 'suspect' as const, 'down' as const),
    incarnation: fc.maxSafeNat().map(value => value % (2 ** 52 + 1)),
    accuser: node,
  })
  .map(made => ({ ...made, accuser: made.status === 'alive' ? made.node : made.accuser }))
const profile: fc.Arbitrary<Profile> = fc
  .record({
    node,
    generation: fc.integer({ min: 1, max: 2 ** 28 - 1 }),
    version: fc.maxSafeNat().map(value => value % 2 ** 32),
    epoch: fc.maxSafeNat(),
    clientAddress: address,
    peerAddress: address,
    states: fc
      .uniqueArray(fc.tuple(fc.nat(255), fc.maxSafeNat()), {
        maxLength: 32,
        selector: ([name]) => name,
      })
      .map(states => new Map(states.sort(([a], [b]) => a - b))),
  })
  .map(made => ({ ...made }))
const message = fc
  .tuple(fc.maxSafeNat(), fc.array(claim, { maxLength: 5 }), fc.array(profile, { maxLength: 5 }))
  .map(([epoch, claims, profiles]): MembershipMessage => ({ epoch, claims, profiles }))

describe('membership format', () => {
  test('the example of the page is what the code writes and reads', () => {
    assert.deepEqual(encodeMembership(EXAMPLE), pageBytes())
    assert.deepEqual(decodeMembership(pageBytes(), ONE), EXAMPLE)
  })

  test('a message is read as it was written', () => {
    fc.assert(
      fc.property(message, written => {
        assert.deepEqual(decodeMembership(encodeMembership(written), ONE), written)
      }),
    )
  })

  test('a message that ends early or goes on is refused, naming the peer', () => {
    const bytes = pageBytes()
    const wrong = [...bytes.keys()].map(size => bytes.subarray(0, size))
    for (const cut of [...wrong, Uint8Array.of(...bytes, 0)]) {
      assert.throws(
        () => decodeMembership(cut, ONE),
        error => error instanceof ProtocolError && error.message.includes(ONE),
      )
    }
  })

  test('a wrong form, status, incarnation, generation, address or count is refused', () => {
    const bytes = pageBytes()
    const claims = 13
    const profiles = claims + 41 + 25
    const planted: [number, number][] = [
      [0, 2],
      [claims + 16, 0],
      [claims + 16, 4],
      [claims + 17 + 6, 0x11],
      [profiles + 16 + 3, 0x10],
      [profiles + 16 + 17, 0x20],
      [bytes.length - 10, 33],
    ]
    for (const [at, value] of planted) {
      assert.throws(() => decodeMembership(bytes.with(at, value), ONE), ProtocolError, `byte ${at}`)
    }
  })
})
