// Goal: figures are short and right at every border, tables line up, and each kind of error says
// what happened, its code and what to do.
// Method: tables of borders; every action an error may have.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  describeError,
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  renderError,
  renderPairs,
  renderTable,
} from '../../src/cli/render.ts'
import { createStyle } from '../../src/cli/style.ts'
import { UsageError } from '../../src/cli/usage-error.ts'
import {
  AbortedError,
  AuthenticationError,
  ChangesGoneError,
  ClockSkewError,
  ClosedError,
  CorruptionError,
  InternalError,
  InvalidArgumentError,
  IoError,
  type KvError,
  LockedError,
  NotFoundError,
  OverloadedError,
  PermissionError,
  PoisonedError,
  ProtocolError,
  TimeoutError,
  UnavailableError,
  VersionMismatchError,
} from '../../src/errors.ts'
import { printSeed } from '../support/seed.ts'

const URL = 'kv://here:7700'

describe('figures', () => {
  for (const [format, input, shown] of [
    [formatCount, 0, '0'],
    [formatCount, 1234567, '1,234,567'],
    [formatBytes, 0, '0 B'],
    [formatBytes, 1023, '1023 B'],
    [formatBytes, 1024, '1.00 KiB'],
    [formatBytes, 10_235, '10.0 KiB'],
    [formatBytes, 1024 ** 2 - 1, '1.00 MiB'],
    [formatBytes, 17.16 * 1024 ** 2, '17.2 MiB'],
    [formatBytes, 5 * 1024 ** 6, '5120 PiB'],
    [formatDuration, 0, '0 us'],
    [formatDuration, 0.0124, '12 us'],
    [formatDuration, 0.9996, '1.00 ms'],
    [formatDuration, 1.25, '1.25 ms'],
    [formatDuration, 999.6, '1.00 s'],
    [formatDuration, 9410, '9.41 s'],
    [formatDuration, 59_949, '59.9 s'],
    [formatDuration, 59_950, '1m 00s'],
    [formatDuration, 247_000, '4m 07s'],
    [formatDuration, 3_599_600, '1h 00m'],
    [formatDuration, 7_380_000, '2h 03m'],
    [formatRate, 0, '0.00/s'],
    [formatRate, 812.4, '812/s'],
    [formatRate, 104_512, '104,512/s'],
  ] as const) {
    test(`${format.name} of ${input} is ${shown}`, () => assert.equal(format(input), shown))
  }

  test('are never longer than a column expects', t => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e15, noNaN: true }), value => {
        assert.ok(formatBytes(value).length <= 8, formatBytes(value))
        assert.match(formatDuration(Math.min(value, 1e9)), /^[\d.]+ (us|ms|s)$|^\d+[mh] \d\d[sm]$/)
      }),
      { seed: printSeed(t), numRuns: 2000 },
    )
  })
})

describe('tables', () => {
  test('line up under their titles', () => {
    const columns = [{ title: 'name' }, { title: 'count', align: 'right' }] as const
    const rows = [
      ['日本', '5'],
      ['a', '1,234'],
      ['long name', ''],
    ]
    assert.deepEqual(renderTable(columns, rows).split('\n'), [
      'name       count',
      '日本           5',
      'a          1,234',
      'long name',
      '',
    ])
  })

  test('may be empty', () => {
    assert.equal(renderTable([{ title: 'x' }], []), 'x\n')
    assert.equal(renderPairs([]), '')
  })

  test('keep their columns with colours', () => {
    const pairs = renderPairs(
      [
        ['a', '1'],
        ['long', '2'],
      ] as const,
      createStyle(true),
    )
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what this is about
    assert.equal(pairs.replace(/\u001b\[\d+m/g, ''), '  a     1\n  long  2\n')
  })
})

/** [error, what the second line says] */
const ERRORS: readonly (readonly [KvError, RegExp | undefined])[] = [
  [new InvalidArgumentError('m'), /correct the command; see kvcli help/],
  [new NotFoundError('m'), /check the name/],
  [new ClosedError('m'), /connect again/],
  [new LockedError('m'), /stop the other process/],
  [new CorruptionError({ path: 'f', offset: 1 }, 'm'), /restore the file/],
  [new IoError('m'), /check the path/],
  [new PoisonedError('m', { outcome: 'unknown' }), /restart the server/],
  [new AbortedError('m'), undefined],
  [new AbortedError('m', { outcome: 'unknown' }), /may have happened/],
  [new TimeoutError('m'), /may have happened/],
  [new TimeoutError('m', { outcome: 'rejected' }), /is the server at kv:\/\/here:7700 well\?/],
  [
    new UnavailableError('m', { isStranger: true }),
    /^ {2}-> the port for clients .*listening.*: --url kv:.*\n {2}-> where that speaks TLS: .*kvs:/,
  ],
  [new UnavailableError('m', { isTls: true }), undefined],
  [new UnavailableError('m'), /running at kv:\/\/here:7700\? start one here with: kvd serve/],
  [new OverloadedError('m', 250), /wait 250 ms, then try again/],
  [new ProtocolError('m'), /the port for clients .*\n.*report it/],
  [new VersionMismatchError('m'), /install the same version/],
  [new AuthenticationError('m'), /DURAMEN_PASSWORD/],
  [new PermissionError('m'), /kvd user grant/],
  [new ChangesGoneError('m'), /copy the state anew/],
  [new ClockSkewError('m'), /correct the command/],
  [new InternalError('m'), /report it/],
]

describe('errors', () => {
  for (const [error, advice] of ERRORS) {
    test(`${error.name} says what to do (${error.outcome})`, () => {
      const [first, ...rest] = renderError(error, { url: URL }).trimEnd().split('\n')
      const isPlain = error.code === 'KV_ABORTED'
      assert.equal(first, `error: ${error.message}${isPlain ? '' : ` [${error.code}]`}`)
      if (advice === undefined) assert.deepEqual(rest, [])
      else assert.match(rest.join('\n'), advice)
      for (const line of rest) assert.match(line, /^ {2}-> /)
      const { code, message, action } = error
      assert.deepEqual(describeError(error), { code, message, action })
    })
  }

  test('in the command line need no code', () => {
    assert.equal(
      renderError(new UsageError('no such thing'), { url: URL }),
      'error: no such thing\n',
    )
  })

  test('that nobody expected are bugs', () => {
    assert.match(
      renderError(new TypeError('x is not a function'), { url: URL }),
      /KV_INTERNAL.*\n.*a bug/,
    )
    assert.deepEqual(describeError('thrown'), {
      code: 'KV_INTERNAL',
      message: 'thrown',
      action: 'report',
    })
  })
})
