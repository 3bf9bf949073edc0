/**
 * Whole database directories as builds of the past left them, kept in test/golden, each beside the
 * entries that it held. Written once by `writeGolden` and never again: a change of the code that
 * writes must not change what the code that reads is tested with.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { Db } from '../../src/engine/index.ts'
import { seededRandom } from '../../src/random.ts'
import { readState } from './crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from './engine-on-disk.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { projectUrl } from './project-root.ts'
import { SimClock } from './sim-clock.ts'

const FOLDER = projectUrl('test/golden/')
/** Log data of the batch that ends each life: the log must still hold it. */
export const LAST_LOG_DATA = 'the last batch'

/** When the directories are opened, by the wall clock: what was to expire has expired. */
export const GOLDEN_WALL_MS = Date.UTC(2030, 0, 1)

/** What a directory is to show. */
export interface GoldenLife {
  readonly name: string
  /** With delete ranges, which files of version 1 do not have. */
  readonly hasRanges: boolean
  /** With the tables of the last level in a second directory, of which earlier builds know not. */
  readonly isTiered: boolean
}

export const GOLDEN_LIVES: readonly GoldenLife[] = [
  { name: 'database-v1', hasRanges: false, isTiered: false },
  { name: 'database-v1-ranges', hasRanges: true, isTiered: false },
  { name: 'database-v1-cold', hasRanges: true, isTiered: true },
]

/** The second directory on the disk, and, under its last name, in the folder of a life. */
export const GOLDEN_COLD = '/cold'

/** The files of a kept directory, on a disk in memory. */
export function goldenDisk(name: string): MemoryFileSystem {
  const disk = new MemoryFileSystem()
  disk.makeDirectorySync(DIRECTORY)
  plantFiles(disk, DIRECTORY, new URL(`${name}/`, FOLDER))
  const cold = new URL(`${name}${GOLDEN_COLD}/`, FOLDER)
  if (existsSync(cold)) {
    disk.makeDirectorySync(GOLDEN_COLD)
    plantFiles(disk, GOLDEN_COLD, cold)
  }
  return disk
}

function plantFiles(disk: MemoryFileSystem, directory: string, folder: URL): void {
  for (const file of readdirSync(folder, { withFileTypes: true })) {
    if (!file.isFile()) continue
    const bytes = readFileSync(new URL(file.name, folder))
    disk.plant(`${directory}/${file.name}`, new Uint8Array(bytes))
  }
}

/** The entries that the kept directory held. */
export function goldenEntries(name: string): Map<string, string> {
  const text = readFileSync(new URL(`${name}.entries`, FOLDER), 'utf8')
  return new Map(JSON.parse(text) as [string, string][])
}

/** A directory of backups, of which it holds two, one table in both. */
export const GOLDEN_BACKUPS = 'backups-v1'
/** Where it is on the disk. */
export const BACKUP_DIRECTORY = '/backups'

/** That directory on a disk in memory, and what the databases held that were backed up. */
export function goldenBackups(): { disk: MemoryFileSystem; states: Map<string, string>[] } {
  const disk = new MemoryFileSystem()
  disk.makeDirectorySync(BACKUP_DIRECTORY)
  plantFiles(disk, BACKUP_DIRECTORY, new URL(`${GOLDEN_BACKUPS}/`, FOLDER))
  const text = readFileSync(new URL(`${GOLDEN_BACKUPS}.entries`, FOLDER), 'utf8')
  return { disk, states: (JSON.parse(text) as [string, string][][]).map(all => new Map(all)) }
}

/** Lives the lives that are not kept yet, and keeps what a kill leaves of them. */
export async function writeGolden(): Promise<void> {
  for (const life of GOLDEN_LIVES) {
    if (!existsSync(new URL(`${life.name}/`, FOLDER))) await writeLife(life)
  }
  if (!existsSync(new URL(`${GOLDEN_BACKUPS}/`, FOLDER))) await writeBackups()
}

async function writeBackups(): Promise<void> {
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  const db = await openEngine(disk, { clock, random: seededRandom(1) })
  const states: (readonly (readonly [string, string])[])[] = []
  for (const [round, keys] of [200, 15].entries()) {
    for (let index = 0; index < keys; index++) {
      await drive(clock, db.put(`key-${index}`, `round ${round} ${'.'.repeat(index % 50)}`))
    }
    await drive(clock, db.backup(BACKUP_DIRECTORY, { keep: 2 }))
    states.push([...(await readState(db))])
  }
  await drive(clock, db.close())
  keepFiles(disk, BACKUP_DIRECTORY, new URL(`${GOLDEN_BACKUPS}/`, FOLDER))
  writeFileSync(new URL(`${GOLDEN_BACKUPS}.entries`, FOLDER), `${JSON.stringify(states)}\n`)
}

async function writeLife(life: GoldenLife): Promise<void> {
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  const tiers = life.isTiered ? { coldDirectory: GOLDEN_COLD } : {}
  const options = { compression: ['none', 'deflate'] as const, ...tiers }
  const db = await openEngine(disk, { clock, random: seededRandom(1), options })
  const entries = await live(db, clock, life)
  const killed = disk.processCrashClone()
  await drive(clock, db.close())

  keepFiles(killed, DIRECTORY, new URL(`${life.name}/`, FOLDER))
  if (life.isTiered) keepFiles(killed, GOLDEN_COLD, new URL(`${life.name}${GOLDEN_COLD}/`, FOLDER))
  writeFileSync(new URL(`${life.name}.entries`, FOLDER), `${JSON.stringify([...entries])}\n`)
}

function keepFiles(disk: MemoryFileSystem, directory: string, folder: URL): void {
  mkdirSync(folder)
  for (const file of disk.listSync(directory)) {
    if (file !== 'LOCK') writeFileSync(new URL(file, folder), disk.peek(`${directory}/${file}`))
  }
}

async function live(db: Db, clock: SimClock, life: GoldenLife): Promise<Map<string, string>> {
  const random = seededRandom(7)
  for (let round = 0; round < 40; round++) {
    for (let index = 0; index < 25; index++) {
      const key = `key-${String(random.below(300)).padStart(3, '0')}`
      // One in three does not shrink.
      const bytes = random.below(3) === 0 ? random.bytes(random.below(80)) : new Uint8Array(40)
      const value = `round ${round} ${Buffer.from(bytes).toString('base64')}`
      // Three in twenty expire at once, and as many never while anybody reads this.
      const die = random.below(20)
      if (die < 3) await drive(clock, db.put(key, value, { ttlMs: 1 }))
      else if (die < 6) await drive(clock, db.put(key, value, { ttlMs: 1e14 }))
      else if (die < 9) await drive(clock, db.delete(key))
      else await drive(clock, db.put(key, value))
    }
    clock.advance(10)
    if (life.hasRanges && round % 4 === 1) {
      const gte = `key-${String(random.below(280)).padStart(3, '0')}`
      await drive(clock, db.deleteRange({ gte, lt: `${gte.slice(0, -1)}~` }))
    }
    // Held till the end, so that compaction has to keep what is deleted after it.
    if (round === 30) db.snapshot()
    if (round === 20) await drive(clock, db.compact())
  }
  if (life.hasRanges) await drive(clock, db.deleteRange({ gt: 'key-29' }))
  const operations = [
    {
      type: 'put' as const,
      key: new Uint8Array([0, 255]),
      value: new Uint8Array([0, 1, 128, 255]),
    },
    { type: 'put' as const, key: 'last', value: '' },
    { type: 'del' as const, key: 'key-000' },
  ]
  await drive(clock, db.batch(operations, { logData: LAST_LOG_DATA }))
  clock.advance(10)
  return await readState(db)
}
