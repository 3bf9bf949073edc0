// Goal: what any build of a format version left on disk, this one and all later ones read; and
// FORMAT.md shows no example that no test holds against the code.
// Method: directories of earlier builds, kept as they were after a kill, are checked, opened, read,
// compacted and opened again. DURAMEN_GOLDEN=1 makes the directories that are not there yet.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import {
  type ChangeBatch,
  InlineExecutor,
  restoreInEnvironment,
  verifyInEnvironment,
} from '../../src/engine/index.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { readState, text } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import {
  BACKUP_DIRECTORY,
  GOLDEN_COLD,
  GOLDEN_LIVES,
  GOLDEN_WALL_MS,
  goldenBackups,
  goldenDisk,
  goldenEntries,
  LAST_LOG_DATA,
  writeGolden,
} from '../support/golden-database.ts'
import type { MemoryFileSystem } from '../support/memory-file-system.ts'
import { projectUrl } from '../support/project-root.ts'
import { SimClock } from '../support/sim-clock.ts'

if (process.env['DURAMEN_GOLDEN'] === '1') await writeGolden()

async function checkFiles(disk: MemoryFileSystem, directory = DIRECTORY): Promise<void> {
  const clock = new SimClock({ wallMs: GOLDEN_WALL_MS })
  const executor = new InlineExecutor({ fileSystem: disk, hasher: await loadHasher(), clock })
  const environment = { fileSystem: disk, executor, clock }
  const { findings, damages } = await drive(clock, verifyInEnvironment(directory, {}, environment))
  assert.equal(damages, 0, JSON.stringify(findings))
}

for (const { name, hasRanges, isTiered } of GOLDEN_LIVES) {
  describe(`the directory ${name}`, () => {
    const entries = goldenEntries(name)

    test('has what there is to have', async () => {
      const disk = goldenDisk(name)
      const tables = disk.paths().filter(path => path.endsWith('.sst'))
      assert.ok(tables.length >= 3, 'tables')
      assert.equal(tables.filter(path => path.startsWith(GOLDEN_COLD)).length > 1, isTiered)
      // See FORMAT.md, "Footer": the version is 20 bytes before the end.
      const versions = tables.map(path => disk.peek(path).at(-20))
      assert.equal(versions.includes(2), hasRanges, versions.join(' '))
      const clock = new SimClock({ wallMs: GOLDEN_WALL_MS })
      // As it was, before compaction goes on.
      const db = await openEngine(disk, { clock, options: { level0CompactionTrigger: 100 } })
      const { levels, recovery } = db.stats()
      assert.ok(levels.filter(level => level.tables > 0).length > 1, 'levels')
      const tombstones = levels.reduce((sum, level) => sum + level.tombstones, 0)
      assert.ok(tombstones > 0, 'tombstones')
      assert.ok(recovery.entries > 3, 'a log')
      await drive(clock, db.close())
    })

    test('passes every check', () => checkFiles(goldenDisk(name)))

    test('opens with all its entries, and gives back its log data', async () => {
      const disk = goldenDisk(name)
      const clock = new SimClock({ wallMs: GOLDEN_WALL_MS })
      const found: string[] = []
      const onLogData = ({ logData }: ChangeBatch): void => {
        found.push(text(logData!))
      }
      const db = await openEngine(disk, { clock, options: { onLogData } })
      assert.deepEqual(await readState(db), entries)
      assert.deepEqual(found, [LAST_LOG_DATA])
      for (const [key, value] of entries) {
        const stored = db.getSync(Buffer.from(key, 'latin1'))
        assert.equal(stored && text(stored), value)
      }
      for (let index = 0; index < 300; index++) {
        const key = `key-${String(index).padStart(3, '0')}`
        assert.equal(db.getSync(key) !== undefined, entries.has(key), key)
      }
      await drive(clock, db.close())
    })

    test('goes on: written to, compacted, and opened again', async () => {
      const disk = goldenDisk(name)
      const clock = new SimClock({ wallMs: GOLDEN_WALL_MS })
      const db = await openEngine(disk, { clock })
      await drive(clock, db.put('new', 'value'))
      await drive(clock, db.compact({ rewrite: true }))
      await drive(clock, db.close())
      await checkFiles(disk)
      const again = await openEngine(disk, { clock })
      const expected = new Map(entries).set('new', 'value')
      assert.deepEqual(await readState(again), expected)
      await drive(clock, again.close())
    })
  })
}

test('the directory of backups passes every check, and each is restored', async () => {
  const { disk, states } = goldenBackups()
  const names = disk.listSync(BACKUP_DIRECTORY)
  assert.equal(names.filter(name => name.startsWith('BACKUP-')).length, states.length)
  await checkFiles(disk, BACKUP_DIRECTORY)
  for (const [index, state] of states.entries()) {
    const clock = new SimClock({ wallMs: GOLDEN_WALL_MS })
    const copy = disk.processCrashClone()
    const executor = new InlineExecutor({ fileSystem: copy, hasher: await loadHasher(), clock })
    const environment = { fileSystem: copy, executor, clock, random: seededRandom(5) }
    const options = { backup: index + 1 }
    const restored = restoreInEnvironment(BACKUP_DIRECTORY, DIRECTORY, options, environment)
    await drive(clock, restored)
    const db = await openEngine(copy, { clock, options: { createIfMissing: false } })
    assert.deepEqual(await readState(db), state)
    await drive(clock, db.close())
  }
})

const TESTS = projectUrl('test/golden/')

test('every example of FORMAT.md is held against the code', () => {
  const read = (path: string) => readFileSync(new URL(path, TESTS), 'utf8')
  const format = read('../../src/engine/FORMAT.md')
  const names = [...format.matchAll(/^```hex (\S+)$/gm)].map(match => match[1]!)
  assert.ok(names.length >= 7)
  const tests = readdirSync(TESTS)
    .filter(file => file.endsWith('-format.test.ts'))
    .map(read)
  for (const name of names) {
    assert.ok(
      tests.some(source => source.includes(`formatExample('${name}')`)),
      `a test reads the example ${name}`,
    )
  }
})
