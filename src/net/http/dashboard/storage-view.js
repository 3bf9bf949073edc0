/** What lies on disk and in memory, and what is done about it in the background. */
import { byId, element, facts, show, table } from './dom.js'
import { bytes, count, counted, duration, percent } from './format.js'

/** @typedef {import('./api.js').DbStats} DbStats */

const COLUMNS = [
  { title: 'Level' },
  { title: 'Tables', isNumber: true },
  { title: 'Bytes', isNumber: true },
  { title: 'Entries', isNumber: true },
  { title: 'Share' },
]

export class StorageView {
  /** @param {import('./api.js').Stats} figures */
  update({ stats: { engine }, process }) {
    const place = byId('storage-view')
    if (engine === undefined) {
      show(place, element('p', { class: 'empty' }, 'This server has no engine to tell of.'))
      return
    }
    show(place, levels(engine), background(engine), memory(engine, process.residentBytes))
  }
}

/** @param {DbStats} engine */
function levels({ levels: all, tableBytes }) {
  const used = all.map((level, number) => ({ ...level, number })).filter(({ tables }) => tables > 0)
  if (used.length === 0) {
    return element('p', { class: 'empty' }, 'No tables yet: everything is in memory and the log.')
  }
  const rows = used.map(({ number, tables, bytes: size, entries }) => {
    const meter = element('meter', { max: Math.max(1, tableBytes), value: size })
    meter.setAttribute('aria-label', `share of level ${number}`)
    return [
      String(number),
      count(tables),
      bytes(size),
      count(entries),
      element('span', { class: 'share' }, meter, ` ${percent(size / Math.max(1, tableBytes))}`),
    ]
  })
  return table('Tables by level', COLUMNS, rows)
}

/** @param {DbStats} engine */
function background({ compactions, flushes, stalls, walBytes, ratios }) {
  const running = compactions.running === 0 ? 'none' : counted(compactions.running, 'compaction')
  const ratio = (/** @type {number | undefined} */ value) =>
    value === undefined ? '–' : `${value.toFixed(1)}×`
  const held =
    stalls.count === 0 ? 'never' : `${count(stalls.count)} commits, ${duration(stalls.totalMs)}`
  return facts([
    ['Running now', running],
    ['Still to compact', bytes(compactions.debt)],
    ['Flushes, compactions', `${count(flushes.count)}, ${count(compactions.count)}`],
    ['Compacted', bytes(compactions.bytesWritten)],
    ['Log on disk', bytes(walBytes)],
    ['Written per byte', ratio(ratios.writeAmplification)],
    ['Held per live byte', ratio(ratios.spaceAmplification)],
    ['Writers held back', stalls.reason === undefined ? held : `${held} (${stalls.reason})`],
  ])
}

/**
 * @param {DbStats} engine
 * @param {number} residentBytes
 */
function memory({ memory: used, ratios }, residentBytes) {
  const hits = ratios.cacheHits
  return facts([
    ['Engine memory', `${bytes(used.total)} of ${bytes(used.budget)}`],
    ['Memtables', bytes(used.memtables)],
    ['Block cache', bytes(used.blockCache)],
    ['Cache hits', hits === undefined ? '–' : percent(hits)],
    ['Process', bytes(residentBytes)],
  ])
}
