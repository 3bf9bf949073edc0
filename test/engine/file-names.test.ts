// Goal: every file name of ours survives a round trip, and no other name is taken for ours.
// Method: golden names, a property over all numbers, and a table of near misses.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { formatFileName, parseFileName } from '../../src/engine/file-names.ts'

describe('file names', () => {
  test('have the documented spelling', () => {
    assert.equal(formatFileName('table', 12), '000012.sst')
    assert.equal(formatFileName('wal', 7), '000007.wal')
    assert.equal(formatFileName('manifest', 3), 'MANIFEST-000003')
    assert.equal(formatFileName('backup', 3), 'BACKUP-000003')
    assert.equal(formatFileName('table', 12_345_678), '12345678.sst')
  })

  test('survive a round trip', () => {
    const kinds = fc.constantFrom(
      'table' as const,
      'wal' as const,
      'manifest' as const,
      'backup' as const,
    )
    const numbers = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
    fc.assert(
      fc.property(kinds, numbers, (kind, fileNumber) => {
        assert.deepEqual(parseFileName(formatFileName(kind, fileNumber)), { kind, fileNumber })
      }),
    )
  })

  test('without a number are recognised', () => {
    assert.equal(parseFileName('CURRENT')?.kind, 'current')
    assert.equal(parseFileName('LOCK')?.kind, 'lock')
    assert.equal(parseFileName('CURRENT.tmp')?.kind, 'temporary')
    assert.equal(parseFileName('000004.tmp')?.kind, 'temporary')
  })

  for (const name of [
    '',
    '12.sst',
    '0000012.sst',
    '000000.sst',
    '000012.SST',
    '000012.sst.bak',
    '000012.ldb',
    'x000012.sst',
    '-00012.sst',
    '9007199254740993.sst',
    'MANIFEST-3',
    'MANIFEST-000003 ',
    'MANIFEST',
    'current',
    'LOCK2',
    '000012',
  ]) {
    test(`do not include ${JSON.stringify(name)}`, () => {
      assert.equal(parseFileName(name), undefined)
    })
  }

  test('refuse file number 0', () => {
    assert.throws(() => formatFileName('wal', 0), /start at 1/)
  })
})
