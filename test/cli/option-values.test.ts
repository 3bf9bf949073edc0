// Goal: option values mean what they say, and a wrong one is refused with its name and what would
// be right.
// Method: tables of texts for each kind of option.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  consistencyOption,
  countOption,
  durabilityOption,
  encodingOption,
  parseDuration,
  rangeOption,
} from '../../src/cli/option-values.ts'
import { UsageError } from '../../src/cli/usage-error.ts'

function refuses(action: () => unknown, message: RegExp): void {
  assert.throws(action, error => error instanceof UsageError && message.test(error.message))
}

describe('durations', () => {
  for (const [text, ms] of [
    ['500ms', 500],
    ['10s', 10_000],
    ['10', 10_000],
    ['0.5', 500],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['0.6ms', 1],
  ] as const) {
    test(`${text} is ${ms} ms`, () => assert.equal(parseDuration(text, 'ttl'), ms))
  }

  for (const text of ['0', '0ms', '0.4ms', '26062498d', '9999999999999999d']) {
    test(`'${text}' is refused, with what may be`, () => {
      refuses(() => parseDuration(text, 'ttl'), /^--ttl '.*' is not .* from 1ms to 26062497d$/)
    })
  }
  test('the longest is taken', () => assert.ok(parseDuration('26062497d', 'ttl') < 2 ** 51))

  for (const text of ['', '-1s', '1w', 'soon', '1 s', '1e3']) {
    test(`'${text}' is refused`, () => {
      refuses(() => parseDuration(text, 'ttl'), /^--ttl '.*' is not a duration: write 500ms, 10s/)
    })
  }
})

test('counts have bounds', () => {
  const bounds = { min: 1, max: 10 }
  const count = (limit: string) => countOption({ limit }, 'limit', bounds)
  assert.equal(countOption({}, 'limit', bounds), undefined)
  assert.equal(count('1'), 1)
  assert.equal(count('10'), 10)
  for (const text of ['0', '11', '-1', '1.5', 'ten', '', ' 1', '1e1']) {
    refuses(() => count(text), /^--limit '.*' is not a whole number from 1 to 10$/)
  }
})

test('choices name what there is', () => {
  assert.equal(durabilityOption({ durability: 'none' }), 'none')
  assert.equal(durabilityOption({}), undefined)
  assert.equal(consistencyOption({ consistency: 'all' }), 'all')
  refuses(() => durabilityOption({ durability: 'SYNC' }), /not one of sync, interval, none$/)
  refuses(() => consistencyOption({ consistency: 'two' }), /not one of one, quorum, all$/)
})

test('an encoding is one of them', () => {
  assert.equal(encodingOption({}), 'text')
  assert.equal(encodingOption({ hex: true }), 'hex')
  assert.equal(encodingOption({ base64: true }), 'base64')
  refuses(() => encodingOption({ hex: true, base64: true }), /not both/)
})

describe('ranges', () => {
  const bytes = (text: string) => Buffer.from(text)

  test('take their bounds in the encoding of keys', () => {
    assert.deepEqual(rangeOption({}, 'text'), {})
    const range = rangeOption({ gte: 'a', lt: 'b' }, 'text')
    assert.deepEqual(range, { gte: bytes('a'), lt: bytes('b') })
    assert.deepEqual(rangeOption({ gt: '6162' }, 'hex'), { gt: bytes('ab') })
    const { gte, lt } = rangeOption({ prefix: 'YWI=' }, 'base64')
    assert.deepEqual([gte, lt].map(String), ['ab', [97, 99].join(',')])
    refuses(() => rangeOption({ lte: 'xyz' }, 'hex'), /^the bound --lte 'xyz' is not hex$/)
  })

  test('that can hold no key are refused, those that happen to be empty are not', () => {
    refuses(
      () => rangeOption({ gte: 'b', lt: 'a' }, 'text'),
      /^the range is empty: --gte 'b' comes after --lt 'a'$/,
    )
    refuses(() => rangeOption({ gt: 'ff', lte: '00ff' }, 'hex'), /--gt 'ff' comes after --lte/)
    assert.deepEqual(rangeOption({ gte: 'a', lt: 'a' }, 'text'), {
      gte: bytes('a'),
      lt: bytes('a'),
    })
  })

  for (const [options, message] of [
    [{ prefix: 'a', gt: 'b' }, /use --prefix or the bounds/],
    [{ gt: 'a', gte: 'b' }, /use --gt or --gte, not both/],
    [{ lt: 'a', lte: 'b' }, /use --lt or --lte, not both/],
  ] as const) {
    test(`refuse ${Object.keys(options).join(' with ')}`, () => {
      refuses(() => rangeOption(options, 'text'), message)
    })
  }
})
