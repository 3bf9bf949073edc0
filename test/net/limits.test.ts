// Goal: limits that cannot work together are refused when the server is made.
// Method: the defaults; each kind of contradiction.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InvalidArgumentError } from '../../src/errors.ts'
import {
  DEFAULT_SERVER_LIMITS,
  resolveServerLimits,
  type ServerLimits,
} from '../../src/net/limits.ts'

const MIB = 1024 * 1024

describe('resolveServerLimits', () => {
  test('without limits gives the defaults', () => {
    assert.deepEqual(resolveServerLimits(), DEFAULT_SERVER_LIMITS)
    assert.ok(Object.isFrozen(resolveServerLimits()))
  })

  test('an undefined limit is the default', () => {
    const limits = { scansMax: undefined } as unknown as Partial<ServerLimits>
    assert.equal(resolveServerLimits(limits).scansMax, DEFAULT_SERVER_LIMITS.scansMax)
  })

  test('takes smaller ones that fit together', () => {
    const limits = resolveServerLimits({ valueSizeMax: 1000, frameSizeMax: 2 * MIB })
    assert.equal(limits.valueSizeMax, 1000)
  })

  const wrong: readonly Partial<ServerLimits>[] = [
    { scansMax: 0 },
    { idleTimeoutMs: 1.5 },
    { inFlightMax: Number.NaN },
    { frameTimeoutMs: 2 ** 31 },
    { valueSizeMax: 65 * MIB, frameSizeMax: 100 * MIB },
    { frameSizeMax: MIB },
    { pageBytesMax: 12 * MIB },
    { inFlightBytesMax: 16 * MIB },
    { receiveBytesMax: 1 },
    { outputBytesMax: MIB },
  ]
  for (const limits of wrong) {
    test(`refuses ${JSON.stringify(limits)}`, () => {
      assert.throws(() => resolveServerLimits(limits), InvalidArgumentError)
    })
  }
})
