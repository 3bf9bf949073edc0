// Goal: who knows user and password is admitted, nobody else, and no answer tells which was wrong.
// Method: every single change of right credentials; what no HELLO can carry; bytes that are none.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DecodeError } from '../../src/bytes.ts'
import { AuthenticationError, InvalidArgumentError } from '../../src/errors.ts'
import type { Access } from '../../src/net/auth/index.ts'
import { encodeCredentials } from '../../src/net/credentials.ts'
import { Doorkeeper } from '../../src/net/doorkeeper.ts'
import { EVERYBODY } from '../support/caller.ts'

/** Of a password that takes no time to check. */
function accessOf(admitted: Access | Promise<Access>): Access {
  assert.ok(!(admitted instanceof Promise))
  return admitted
}

const RIGHT = { user: 'ada', password: 'correct horse' }

test('only the right credentials are admitted', () => {
  const doorkeeper = new Doorkeeper(RIGHT)
  assert.ok(doorkeeper.asksForPassword)
  const right = encodeCredentials(RIGHT)
  assert.equal(accessOf(doorkeeper.admit(right, EVERYBODY)).isFull, true)
  const wrong = [
    new Uint8Array(0),
    encodeCredentials({ ...RIGHT, user: 'adab' }),
    encodeCredentials({ user: 'adac', password: 'orrect horse' }),
    encodeCredentials({ password: RIGHT.password }),
    encodeCredentials({ ...RIGHT, password: `${RIGHT.password} ` }),
    ...Array.from(right.subarray(4), (_, index) => {
      return Uint8Array.from(right, (byte, at) => (at === 4 + index ? byte ^ 1 : byte))
    }),
    ...Array.from({ length: right.length - 5 }, (_, index) => right.subarray(0, 5 + index)),
  ]
  const messages = new Set<string>()
  for (const bytes of wrong) {
    assert.throws(
      () => doorkeeper.admit(bytes, EVERYBODY),
      (error: unknown) => {
        assert.ok(error instanceof AuthenticationError)
        if (bytes.length > 0) messages.add(error.message)
        return true
      },
    )
  }
  assert.equal(messages.size, 1)
})

test('bytes that are no credentials are malformed', () => {
  const doorkeeper = new Doorkeeper(RIGHT)
  for (const bytes of [[0], [3, 97, 98], [1, 97], [255, 1, 2]]) {
    assert.throws(() => doorkeeper.admit(Uint8Array.from(bytes), EVERYBODY), DecodeError)
  }
})

test('without a password everybody enters who brings none', () => {
  const open = new Doorkeeper({ user: 'ada' })
  assert.ok(!open.asksForPassword)
  assert.equal(accessOf(open.admit(new Uint8Array(0), EVERYBODY)).isFull, true)
  assert.throws(() => open.admit(encodeCredentials(RIGHT), EVERYBODY), AuthenticationError)
})

test('what no HELLO can carry is refused', () => {
  for (const credentials of [
    { password: '' },
    { user: 'x'.repeat(256), password: 'p' },
    { user: 'x', password: 'p'.repeat(1023) },
  ]) {
    assert.throws(() => encodeCredentials(credentials), InvalidArgumentError)
  }
  assert.equal(encodeCredentials({ user: 'x', password: 'p'.repeat(1022) }).length, 1024)
})
