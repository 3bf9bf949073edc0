/** Reads and writes a second, and how long they take: two plots of the last five minutes. */
import { byId, element, show } from './dom.js'
import { count, duration } from './format.js'

/** @typedef {import('./api.js').LoadColumns} LoadColumns */
/** @typedef {import('./api.js').LoadPoint} LoadPoint */

const WINDOW_S = 300
const HEIGHT = 200

/** @type {typeof import('uplot')} */
const Plot = /** @type {any} */ (globalThis).uPlot

/**
 * A line of a plot. Dashes, not colours, tell them apart.
 *
 * @typedef {object} Line
 * @property {Exclude<keyof LoadPoint, 'atMs'>} name
 * @property {string} label
 * @property {'reads' | 'writes'} colour name of a property of the style sheet
 * @property {number} width
 * @property {number[]} dash
 */

/** @type {readonly Line[]} */
const RATES = [
  { name: 'reads', label: 'reads', colour: 'reads', width: 2, dash: [] },
  { name: 'writes', label: 'writes', colour: 'writes', width: 2, dash: [7, 4] },
]
/** @type {readonly Line[]} */
const TIMES = [
  { name: 'readP50Ms', label: 'reads p50', colour: 'reads', width: 1, dash: [] },
  { name: 'readP99Ms', label: 'reads p99', colour: 'reads', width: 2.5, dash: [] },
  { name: 'writeP50Ms', label: 'writes p50', colour: 'writes', width: 1, dash: [7, 4] },
  { name: 'writeP99Ms', label: 'writes p99', colour: 'writes', width: 2.5, dash: [7, 4] },
]

export class LoadView {
  /** @type {LoadPoint[]} */
  #points = []
  /** @type {TimePlot[]} */
  #plots = []

  constructor() {
    this.#draw()
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw())
  }

  #draw() {
    for (const plot of this.#plots) plot.destroy()
    this.#plots = [
      new TimePlot('operations', RATES, value => count(value), false),
      new TimePlot('latency', TIMES, value => duration(value), true),
    ]
    for (const plot of this.#plots) plot.update(this.#points)
  }

  /** @param {import('./api.js').Stats} figures */
  update({ load, history, atMs }) {
    if (history !== undefined) this.#points = pointsOf(history)
    const lastMs = this.#points.at(-1)?.atMs ?? 0
    if (load !== null && load.atMs > lastMs) this.#points.push(load)
    const oldestMs = atMs - WINDOW_S * 1000
    this.#points = this.#points.filter(point => point.atMs >= oldestMs)
    for (const plot of this.#plots) plot.update(this.#points)
  }
}

/**
 * @param {LoadColumns} columns
 * @returns {LoadPoint[]}
 */
function pointsOf(columns) {
  const names = /** @type {(keyof LoadPoint)[]} */ (Object.keys(columns))
  return columns.atMs.map((_, at) => {
    const pairs = names.map(name => [name, columns[name][at] ?? null])
    return /** @type {LoadPoint} */ (Object.fromEntries(pairs))
  })
}

class TimePlot {
  #id
  #lines
  #format
  #plot
  #observer

  /**
   * @param {string} id
   * @param {readonly Line[]} lines
   * @param {(value: number) => string} format
   * @param {boolean} isLog
   */
  constructor(id, lines, format, isLog) {
    this.#id = id
    this.#lines = lines
    this.#format = format
    const place = byId(`${id}-plot`)
    const style = getComputedStyle(document.documentElement)
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim()
    const axis = { stroke: colour('ink-soft') }
    const grid = { stroke: colour('line'), width: 1 }
    const ticks = { stroke: colour('line'), width: 1, size: 4 }
    this.#plot = new Plot(
      {
        width: Math.max(200, place.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { range: xRange }, y: isLog ? LOG_SCALE : { range: yRange } },
        axes: [
          { ...axis, grid, ticks, size: 26, values: timeLabels, space: 70 },
          {
            ...axis,
            ...{ size: 58, ticks: isLog ? { ...ticks, filter: decades } : ticks },
            grid: isLog ? { ...grid, filter: decades } : grid,
            ...(isLog ? { filter: decades } : {}),
            values: (_, values) => values.map(yLabel(format, isLog)),
          },
        ],
        series: [
          {},
          ...lines.map(line => ({
            stroke: colour(line.colour),
            width: line.width,
            dash: line.dash,
            points: { show: true, size: 4, filter: alone },
            spanGaps: false,
          })),
        ],
      },
      [[], ...lines.map(() => [])],
      place,
    )
    this.#observer = new ResizeObserver(() => {
      this.#plot.setSize({ width: Math.max(200, place.clientWidth), height: HEIGHT })
    })
    this.#observer.observe(place)
  }

  destroy() {
    this.#observer.disconnect()
    this.#plot.destroy()
  }

  /** @param {readonly LoadPoint[]} points */
  update(points) {
    const times = points.map(({ atMs }) => atMs / 1000)
    const columns = this.#lines.map(({ name }) => points.map(point => point[name]))
    this.#plot.setData([times, ...columns])
    const last = points.at(-1)
    const items = this.#lines.map(line => {
      const value = last?.[line.name]
      const text = value === undefined || value === null ? '–' : this.#format(value)
      return element(
        'span',
        { class: 'legend-item' },
        sample(line),
        ` ${line.label} `,
        element('b', {}, text),
      )
    })
    const isQuiet = points.every(({ reads, writes }) => reads + writes === 0)
    const quiet = element('span', { class: 'quiet' }, 'no reads or writes in these five minutes')
    const waiting = element('span', { class: 'quiet' }, 'the first second is being counted')
    const note = points.length === 0 ? [waiting] : isQuiet ? [quiet] : []
    show(byId(`${this.#id}-legend`), ...items, ...note)
  }
}

/** @type {import('uplot').Scale} */
const LOG_SCALE = {
  distr: 3,
  // Decades, so that lines do not jump when a value comes or goes.
  range: (_, low, high) => [
    Math.min(0.1, 10 ** Math.floor(Math.log10(low || 0.1))),
    Math.max(10, 10 ** Math.ceil(Math.log10(high || 10))),
  ],
}

/**
 * @param {unknown} _
 * @param {number} low
 * @param {number} high
 * @returns {[number, number]}
 */
function xRange(_, low, high) {
  const end = Number.isFinite(high) && high > 0 ? high : Date.now() / 1000
  return [end - WINDOW_S, Math.max(end, low)]
}

/**
 * @param {unknown} _
 * @param {number} _low
 * @param {number} high
 * @returns {[number, number]}
 */
function yRange(_, _low, high) {
  return [0, Math.max(10, (high || 0) * 1.1)]
}

/**
 * @param {unknown} _
 * @param {number[]} seconds
 */
function timeLabels(_, seconds) {
  return seconds.map(at => new Date(at * 1000).toLocaleTimeString('en-GB').slice(0, 5))
}

/**
 * @param {(value: number) => string} format
 * @param {boolean} isLog
 * @returns {(value: number | null) => string}
 */
function yLabel(format, isLog) {
  return value => {
    if (value === null) return ''
    if (isLog) return value >= 1000 ? `${value / 1000} s` : `${value} ms`
    return value >= 10_000 ? `${value / 1000}k` : format(value)
  }
}

/**
 * Without what lies between powers of ten.
 *
 * @param {unknown} _
 * @param {number[]} splits
 */
function decades(_, splits) {
  return splits.map(value => (Math.abs(Math.log10(value) % 1) < 1e-9 ? value : null))
}

/**
 * Seconds between others without anything: no line leads to them.
 *
 * @param {import('uplot')} plot
 * @param {number} series
 */
function alone(plot, series) {
  const values = plot.data[series] ?? []
  const isNothing = (/** @type {number} */ at) => (values[at] ?? null) === null
  const all = [...values.keys()]
  return all.filter(at => !isNothing(at) && isNothing(at - 1) && isNothing(at + 1))
}

/**
 * A piece of the line, as it is in the plot.
 *
 * @param {Line} line
 */
function sample({ colour, width, dash }) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  const attributes = { viewBox: '0 0 28 8', width: '28', height: '8', 'aria-hidden': 'true' }
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value)
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  path.setAttribute('d', 'M0 4H28')
  path.setAttribute('class', `line-${colour}`)
  path.setAttribute('stroke-width', String(width))
  path.setAttribute('stroke-dasharray', dash.join(' '))
  svg.append(path)
  return svg
}
