// Goal: the levels have the sizes that the header of level-shape.ts shows, and debt is what it
// takes to get there.
// Method: versions with one table a level, of sizes chosen by hand.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compactionDebt, LAST_LEVEL, levelShape } from '../../src/engine/level-shape.ts'
import { Version } from '../../src/engine/version.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
const OPTIONS = {
  tableSizeTarget: 32 * MIB,
  level0CompactionTrigger: 4,
  baseLevelSize: 256 * MIB,
  levelSizeRatio: 10,
}

/** A version whose levels have these sizes; level 0 in tables of 32 MiB. */
function versionOf(sizes: readonly number[]): Version {
  let fileNumber = 1
  const tables = sizes.flatMap((size, level) => {
    const parts = level === 0 ? new Array<number>(size / (32 * MIB)).fill(32 * MIB) : [size]
    return parts.filter(part => part > 0).map(part => ({ level, size: part }))
  })
  const added = tables.map(({ level, size }) => ({
    level,
    table: {
      fileNumber: fileNumber++,
      size,
      smallestKey: Uint8Array.of(1),
      largestKey: Uint8Array.of(2),
      smallestSequence: 1,
      largestSequence: fileNumber,
      entryCount: 1,
      tombstoneCount: 0,
      rangeTombstoneCount: 0,
      expiringCount: 0,
      expiryMax: 0,
      rawSize: size,
      fileChecksum: 0,
    },
  }))
  return Version.empty().apply({ added })
}

describe('levelShape', () => {
  test('an empty or small database is level 0 and the last level', () => {
    for (const last of [0, 100 * MIB, 256 * MIB]) {
      const { baseLevel, targets } = levelShape(versionOf([0, 0, 0, 0, 0, 0, last]), OPTIONS)
      assert.equal(baseLevel, LAST_LEVEL)
      assert.equal(targets[LAST_LEVEL], Number.POSITIVE_INFINITY)
    }
  })

  test('a larger one has a level more for each tenfold', () => {
    const one = levelShape(versionOf([0, 0, 0, 0, 0, 0, GIB]), OPTIONS)
    assert.equal(one.baseLevel, 5)
    assert.equal(one.targets[5], GIB / 10)
    const hundred = levelShape(versionOf([0, 0, 0, 0, 0, 0, 100 * GIB]), OPTIONS)
    assert.equal(hundred.baseLevel, 3)
    assert.deepEqual(hundred.targets.slice(3, 6), [GIB / 10, GIB, 10 * GIB])
  })

  test('a level in use above the base level is the base level until it is empty', () => {
    const { baseLevel, targets } = levelShape(versionOf([0, 0, 0, MIB, 0, 0, 100 * MIB]), OPTIONS)
    assert.equal(baseLevel, 3)
    assert.deepEqual(
      targets.slice(3, 6).map(target => Math.round((target / MIB) * 100)),
      [10, 100, 1000],
    )
  })

  test('a level larger than the last one sets the measure', () => {
    const { baseLevel, targets } = levelShape(versionOf([0, 0, 0, 0, 0, GIB, MIB]), OPTIONS)
    assert.equal(baseLevel, 5)
    assert.equal(targets[5], GIB / 10)
  })
})

describe('compactionDebt', () => {
  test('a tree in shape owes nothing', () => {
    assert.equal(compactionDebt(Version.empty(), OPTIONS), 0)
    const shaped = versionOf([96 * MIB, 0, 0, 0, 0, 102 * MIB, GIB])
    assert.equal(compactionDebt(shaped, OPTIONS), 0)
  })

  test('level 0 owes itself and the base level it is merged with', () => {
    const small = versionOf([128 * MIB, 0, 0, 0, 0, 0, 200 * MIB])
    assert.equal(compactionDebt(small, OPTIONS), 328 * MIB)
  })

  test('what a level has too much of owes its share of the level below, and so on down', () => {
    const version = versionOf([0, 0, 0, 0, 0, 200 * MIB, 1000 * MIB])
    // 100 MiB too many, each with five bytes of the last level beside it.
    assert.equal(compactionDebt(version, OPTIONS), 600 * MIB)
    const full = versionOf([128 * MIB, 0, 0, 0, 0, 100 * MIB, 1000 * MIB])
    const arriving = 128 * (1 + 1000 / 228)
    assert.equal(compactionDebt(full, OPTIONS) / MIB, 228 + arriving)
  })

  test('a level too large owes, even if those above are not', () => {
    const version = versionOf([0, 0, 0, 0, MIB, 2 * GIB, 10 * GIB])
    assert.equal(Math.round(compactionDebt(version, OPTIONS) / GIB), 6)
  })
})
