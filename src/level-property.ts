/**
 * What getProperty() tells: LevelDB's names for what this engine has too, and everything it counts
 * under a name of its own.
 */
import type { DbStats } from './engine/index.ts'

const MIB = 1024 * 1024
const FILES_AT_LEVEL = /^leveldb\.num-files-at-level(\d+)$/

/** The text of a property; empty for one that does not exist, as LevelDB has it. */
export function levelProperty(name: string, stats: DbStats): string {
  const level = FILES_AT_LEVEL.exec(name)?.[1]
  if (level !== undefined) return levelFiles(stats, Number(level))
  switch (name) {
    case 'leveldb.stats':
      return levelTable(stats)
    case 'leveldb.approximate-memory-usage':
      return String(stats.memory.total)
    case 'duramen.stats':
      return JSON.stringify(stats)
    default:
      return ''
  }
}

function levelFiles({ levels }: DbStats, level: number): string {
  const tables = levels[level]?.tables
  return tables === undefined ? '' : String(tables)
}

function levelTable(stats: DbStats): string {
  const rows = stats.levels.flatMap(({ tables, bytes, entries }, level) =>
    tables === 0 ? [] : [row(String(level), String(tables), mebibytes(bytes), String(entries))],
  )
  return [row('Level', 'Files', 'Size(MB)', 'Entries'), ...rows].map(line => `${line}\n`).join('')
}

function row(...cells: string[]): string {
  return cells.map(cell => cell.padStart(10)).join('')
}

function mebibytes(bytes: number): string {
  return (bytes / MIB).toFixed(1)
}
