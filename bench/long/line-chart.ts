/** One series over time as an SVG picture: a line, levels to compare it with, and shaded spans. */

export interface ChartLevel {
  readonly value: number
  readonly label: string
}

/** A part of the time axis, in the units of x. */
export interface ChartSpan {
  readonly from: number
  readonly to: number
}

export interface LineChart {
  readonly title: string
  readonly xLabel: string
  readonly yLabel: string
  /** y at x = 0, 1, 2, … */
  readonly values: readonly number[]
  readonly levels: readonly ChartLevel[]
  readonly spans: readonly ChartSpan[]
  readonly spanLabel: string
}

const WIDTH = 960
const HEIGHT = 420
const LEFT = 80
const RIGHT = 24
const TOP = 56
const BOTTOM = 56
const PLOT_WIDTH = WIDTH - LEFT - RIGHT
const PLOT_HEIGHT = HEIGHT - TOP - BOTTOM
const TICKS = 6

/** The smallest of 1, 2, 5 times a power of ten that gives at most TICKS steps. */
export function tickStep(extent: number): number {
  const rough = Math.max(extent, Number.MIN_VALUE) / TICKS
  const power = 10 ** Math.floor(Math.log10(rough))
  return (([1, 2, 5, 10].find(factor => factor * power >= rough) ?? 10) as number) * power
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

function compact(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`
  return value >= 1e3 ? `${Number((value / 1e3).toPrecision(3))}k` : String(value)
}

/** The picture as the text of an SVG file. */
export function lineChart(chart: LineChart): string {
  const xMax = Math.max(1, chart.values.length - 1)
  const yMax = Math.max(1, ...chart.values, ...chart.levels.map(level => level.value)) * 1.05
  const xAt = (x: number) => (LEFT + (x / xMax) * PLOT_WIDTH).toFixed(1)
  const yAt = (y: number) => (TOP + PLOT_HEIGHT - (y / yMax) * PLOT_HEIGHT).toFixed(1)
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
      `font-family="system-ui, sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="26" font-size="17" font-weight="600">${escaped(chart.title)}</text>`,
  ]
  for (const { from, to } of chart.spans) {
    const width = Math.max(1, Number(xAt(Math.min(to, xMax))) - Number(xAt(from))).toFixed(1)
    parts.push(
      `<rect x="${xAt(from)}" y="${TOP}" width="${width}" height="${PLOT_HEIGHT}" fill="#fde68a"/>`,
    )
  }
  for (let y = 0; y <= yMax; y += tickStep(yMax)) {
    parts.push(
      `<path d="M${LEFT} ${yAt(y)}H${WIDTH - RIGHT}" stroke="#e5e7eb"/>`,
      `<text x="${LEFT - 8}" y="${Number(yAt(y)) + 4}" text-anchor="end">${compact(y)}</text>`,
    )
  }
  for (let x = 0; x <= xMax; x += tickStep(xMax)) {
    const at = `x="${xAt(x)}" y="${HEIGHT - BOTTOM + 20}"`
    parts.push(`<text ${at} text-anchor="middle">${compact(x)}</text>`)
  }
  for (const { value, label } of chart.levels) {
    const y = yAt(value)
    parts.push(
      `<path d="M${LEFT} ${y}H${WIDTH - RIGHT}" stroke="#dc2626" stroke-dasharray="6 4"/>`,
      `<text x="${WIDTH - RIGHT}" y="${Number(y) - 5}" text-anchor="end" fill="#dc2626">` +
        `${escaped(label)}</text>`,
    )
  }
  const line = chart.values.map((y, x) => `${x === 0 ? 'M' : 'L'}${xAt(x)} ${yAt(y)}`).join('')
  parts.push(
    `<path d="${line}" fill="none" stroke="#2563eb" stroke-width="1.5"/>`,
    `<text x="${LEFT}" y="46" fill="#4b5563">${escaped(chart.yLabel)}</text>`,
    `<text x="${WIDTH / 2}" y="${HEIGHT - 12}" text-anchor="middle" fill="#4b5563">` +
      `${escaped(chart.xLabel)}</text>`,
  )
  if (chart.spans.length > 0) {
    const x = WIDTH - RIGHT - 9 * chart.spanLabel.length
    parts.push(
      `<rect x="${x - 20}" y="34" width="14" height="14" fill="#fde68a"/>`,
      `<text x="${x}" y="46" fill="#4b5563">${escaped(chart.spanLabel)}</text>`,
    )
  }
  return `${[...parts, '</svg>'].join('\n')}\n`
}
