// Goal: an error can be recognised by its code, says what to do, and says what is known of a write.
// Method: one instance of every exported class, made as its users make it; a class added without an
// instance here fails the test. That README documents every code is checked in test/lint.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as errors from '../../src/errors.ts'
import { KvError } from '../../src/errors.ts'

const cause = new Error('cause')
const where = { path: '/data/000012.sst', offset: 4096, expected: '0xdead', actual: '0xbeef' }
const INSTANCES: Readonly<Record<string, KvError>> = {
  InvalidArgumentError: new errors.InvalidArgumentError('text', { cause }),
  NotFoundError: new errors.NotFoundError('text', { cause }),
  ClosedError: new errors.ClosedError('text', { cause }),
  LockedError: new errors.LockedError('text', { cause }),
  CorruptionError: new errors.CorruptionError(where, 'text', { cause }),
  IoError: new errors.IoError('text', { cause }),
  PoisonedError: new errors.PoisonedError('text', { cause, outcome: 'unknown' }),
  AbortedError: new errors.AbortedError('text', { cause, outcome: 'unknown' }),
  TimeoutError: new errors.TimeoutError('text', { cause }),
  UnavailableError: new errors.UnavailableError('text', { cause, outcome: 'unknown' }),
  OverloadedError: new errors.OverloadedError('text', 250, { cause }),
  ProtocolError: new errors.ProtocolError('text', { cause }),
  VersionMismatchError: new errors.VersionMismatchError('text', { cause }),
  AuthenticationError: new errors.AuthenticationError('text', { cause }),
  ChangesGoneError: new errors.ChangesGoneError('text', { cause }),
  PermissionError: new errors.PermissionError('text', { cause }),
  ClockSkewError: new errors.ClockSkewError('text', { cause }),
  InternalError: new errors.InternalError('text', { cause }),
}

describe('every error', () => {
  test('has an instance here', () => {
    const classes = Object.entries(errors)
      .filter(([, value]) => typeof value === 'function' && value.prototype instanceof KvError)
      .map(([name]) => name)
    assert.deepEqual(new Set(Object.keys(INSTANCES)), new Set(classes))
  })

  test('has a code of its own, a name, an action and the cause', () => {
    const codes = new Set<string>()
    for (const [name, error] of Object.entries(INSTANCES)) {
      assert.equal(error.name, name)
      assert.match(error.code, /^KV(_[A-Z]+)+$/)
      assert.ok(error.action.length > 0)
      assert.ok(error.message.includes('text'))
      assert.equal(error.cause, cause, `${name} keeps its cause`)
      assert.ok(error instanceof Error && error.stack?.includes(name))
      codes.add(error.code)
    }
    assert.equal(codes.size, Object.keys(INSTANCES).length)
  })

  test('is retryable exactly when its action says so', () => {
    for (const error of Object.values(INSTANCES)) {
      assert.equal(errors.isRetryable(error), error.action.startsWith('retry'), error.code)
    }
    assert.equal(errors.isRetryable(new Error('text')), false)
    assert.equal(errors.isRetryable(undefined), false)
  })
})

test('what is known of a failed write', () => {
  assert.equal(new errors.InvalidArgumentError('text').outcome, 'rejected')
  assert.equal(new errors.OverloadedError('text', 1).outcome, 'rejected')
  assert.equal(new errors.AbortedError('text').outcome, 'rejected')
  assert.equal(new errors.UnavailableError('text').outcome, 'rejected')
  assert.equal(new errors.TimeoutError('text').outcome, 'unknown')
  assert.equal(new errors.InternalError('text').outcome, 'unknown')
  assert.equal(new errors.TimeoutError('text', { outcome: 'rejected' }).outcome, 'rejected')
  assert.equal(new errors.PoisonedError('text', { outcome: 'unknown' }).outcome, 'unknown')
})

test('corruption says where, what stood there, and which command can help', () => {
  const { message, path, offset, expected, actual } = new errors.CorruptionError(where, 'bad sum')
  assert.deepEqual({ path, offset, expected, actual }, where)
  assert.equal(
    message,
    '/data/000012.sst@4096: bad sum (expected 0xdead, found 0xbeef); restore this file from a ' +
      'replica or backup, or examine it with: kvcli debug verify /data',
  )
  const bare = new errors.CorruptionError(
    { path: 'MANIFEST', offset: 0, expected: 'magic' },
    'text',
  )
  assert.match(bare.message, /^MANIFEST@0: text \(expected magic, found nothing\).* verify \.$/)
})

test('anything thrown becomes an Error', () => {
  assert.equal(errors.toError(cause), cause)
  assert.equal(errors.toError('text').message, 'text')
  assert.equal(errors.toError(undefined).message, 'undefined')
})
