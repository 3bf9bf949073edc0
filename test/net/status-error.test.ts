// Goal: every error of the server arrives at the client as the same error.
// Method: each code once through encode and decode; what is not a KvError; what is not known.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as errors from '../../src/errors.ts'
import { codeOfStatus, STATUS_OF_CODE, Status } from '../../src/net/opcode.ts'
import {
  decodeErrorBody,
  encodeErrorBody,
  errorBodyOf,
  remoteError,
  statusOfError,
} from '../../src/net/status-error.ts'

const SAMPLES: readonly errors.KvError[] = [
  new errors.InvalidArgumentError('a'),
  new errors.NotFoundError('b'),
  new errors.ClosedError('c'),
  new errors.LockedError('d'),
  new errors.CorruptionError({ path: '/data/7.sst', offset: 4096, expected: '1' }, 'bad block'),
  new errors.IoError('e'),
  new errors.PoisonedError('f', { outcome: 'unknown' }),
  new errors.PoisonedError('g', { outcome: 'rejected' }),
  new errors.AbortedError('h', { outcome: 'unknown' }),
  new errors.TimeoutError('i'),
  new errors.TimeoutError('j', { outcome: 'rejected' }),
  new errors.UnavailableError('k', { outcome: 'unknown' }),
  new errors.UnavailableError('l'),
  new errors.OverloadedError('m', 75),
  new errors.ProtocolError('n'),
  new errors.VersionMismatchError('o'),
  new errors.AuthenticationError('p'),
  new errors.ChangesGoneError('t'),
  new errors.PermissionError('t'),
  new errors.ClockSkewError('q'),
  new errors.InternalError('r'),
]

function transmit(error: unknown): errors.KvError {
  const body = encodeErrorBody(errorBodyOf(error))
  return remoteError(statusOfError(error), decodeErrorBody(body, 0, body.length))
}

describe('errors on the wire', () => {
  test('the samples have every code', () => {
    const codes = new Set<string>(SAMPLES.map(error => error.code))
    assert.deepEqual(codes, new Set(Object.keys(STATUS_OF_CODE)))
  })

  for (const error of SAMPLES) {
    test(`${error.code} (${error.outcome}) arrives as it was`, () => {
      const arrived = transmit(error)
      assert.equal(arrived.constructor, error.constructor)
      const { code, action, outcome, message } = arrived
      assert.deepEqual(
        { code, action, outcome, message },
        {
          code: error.code,
          action: error.action,
          outcome: error.outcome,
          message: error.message,
        },
      )
    })
  }

  test('an overloaded server says how long to wait, in whole milliseconds', () => {
    const arrived = transmit(new errors.OverloadedError('busy', 12.3))
    assert.ok(arrived instanceof errors.OverloadedError)
    assert.equal(arrived.retryAfterMs, 13)
  })

  test('corruption arrives with its place', () => {
    const arrived = transmit(SAMPLES.find(error => error.code === 'KV_CORRUPTION'))
    assert.ok(arrived instanceof errors.CorruptionError)
    assert.equal(arrived.path, '/data/7.sst')
    assert.equal(arrived.offset, 4096)
  })

  test('a bug arrives as internal, without its text', () => {
    const arrived = transmit(new TypeError('secret is not a function'))
    assert.equal(arrived.code, 'KV_INTERNAL')
    assert.equal(arrived.outcome, 'unknown')
    assert.doesNotMatch(arrived.message, /secret/)
  })

  test('codes and statuses are one to one', () => {
    const statuses = Object.values(STATUS_OF_CODE)
    assert.equal(new Set(statuses).size, statuses.length)
    for (const [code, status] of Object.entries(STATUS_OF_CODE)) {
      assert.equal(codeOfStatus(status), code)
    }
    assert.equal(codeOfStatus(Status.ok), undefined)
  })

  test('a status of a later version becomes a protocol error', () => {
    const body = { outcome: 'unknown', retryAfterMs: 0, message: 'new', detail: new Uint8Array() }
    assert.equal(remoteError(200, { ...body, outcome: 'unknown' }).code, 'KV_PROTOCOL')
  })
})
