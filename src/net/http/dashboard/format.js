/** Figures as people read them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** @param {number} size */
export function bytes(size) {
  let value = size
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`
}

const COUNTS = new Intl.NumberFormat('en')

/** @param {number} value */
export function count(value) {
  return COUNTS.format(value)
}

/**
 * `1 node`, `2 nodes`.
 *
 * @param {number} value
 * @param {string} noun
 */
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`
}

/** @param {number} fraction */
export function percent(fraction) {
  return `${(fraction * 100).toFixed(fraction < 0.0995 ? 1 : 0)} %`
}

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1) return `${ms.toFixed(2)} ms`
  if (ms < 10) return `${ms.toFixed(1)} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`
  return `${Math.round(ms / 86_400_000)} d`
}

/**
 * The time of day here.
 *
 * @param {number} ms since the Unix epoch
 */
export function clockTime(ms) {
  return new Date(ms).toLocaleTimeString('en-GB')
}

/** @param {number} ms since the Unix epoch */
export function dateTime(ms) {
  return `${new Date(ms).toISOString().replace('T', ' ').slice(0, 23)} UTC`
}

/**
 * How a node is called here: as many digits of its id as tell all of these apart, but 8.
 *
 * @param {readonly string[]} ids
 * @returns {(id: string) => string}
 */
export function namer(ids) {
  let digits = 8
  while (digits < 32 && new Set(ids.map(id => id.slice(0, digits))).size < ids.length) digits++
  return id => id.slice(0, digits)
}

const ID = /(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])/g

/**
 * A text with the ids of nodes in it as short as elsewhere.
 *
 * @param {string} text
 */
export function shortened(text) {
  return text.replaceAll(ID, id => id.slice(0, 8))
}

/**
 * `bytesIn` as `bytes in`, `durationMs` without the unit, which the value has.
 *
 * @param {string} name
 */
export function fieldName(name) {
  return name.replace(/Ms$/, '').replaceAll(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
}

/**
 * A field of an event, by what the end of its name says of its unit.
 *
 * @param {string} name
 * @param {unknown} value
 */
export function field(name, value) {
  if (typeof value === 'number') {
    if (/Ms$/.test(name)) return duration(value)
    if (/[bB]ytes(?:In|Out|)$/.test(name)) return bytes(value)
    return count(value)
  }
  if (isError(value)) return shortened(`${value.code ?? 'error'}: ${value.message}`)
  return shortened(typeof value === 'string' ? value : JSON.stringify(value))
}

/**
 * An error, as the log writes them.
 *
 * @param {unknown} value
 * @returns {value is { message: string, code?: string }}
 */
function isError(value) {
  return typeof value === 'object' && value !== null && 'message' in value
}
