/**
 * Prometheus's text format, line by line, as `promtool check metrics` and the server's own parser
 * judge it: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

interface Family {
  readonly name: string
  help: string | undefined
  type: string | undefined
  readonly samples: Sample[]
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y
const HELP = /^(?:[^\\]|\\[\\n])+$/
const VALUE = /^(?:NaN|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/
const UNITS = /_(?:milliseconds|ms|minutes|hours|kilobytes|megabytes|kb|mb|percent)(?:_|$)/

/** What is wrong with the text, a line each. */
export function metricsProblems(text: string): string[] {
  return new MetricsReader(text).problems
}

/** The samples of a text without problems. */
export function metricSamples(text: string): Sample[] {
  return new MetricsReader(text).samples
}

class MetricsReader {
  readonly problems: string[] = []
  readonly samples: Sample[] = []
  readonly #families = new Map<string, Family>()
  readonly #seen = new Set<string>()
  #open: Family | undefined

  constructor(text: string) {
    if (!text.endsWith('\n')) this.problems.push('the text does not end with a line feed')
    for (const [at, line] of text.split('\n').slice(0, -1).entries()) this.#line(line, at + 1)
    for (const family of this.#families.values()) this.#checkFamily(family)
  }

  #line(line: string, number: number): void {
    const complain = (what: string): void => {
      this.problems.push(`line ${number}: ${what}: ${line}`)
    }
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line)
    if (comment !== null) this.#comment(comment[1]!, comment[2]!, comment[3]!, complain)
    else if (line.startsWith('#')) complain('neither HELP nor TYPE')
    else this.#sample(line, complain)
  }

  #comment(kind: string, name: string, text: string, complain: (what: string) => void): void {
    if (!NAME.test(name)) complain('no name of a metric')
    let family = this.#families.get(name)
    if (family === undefined) {
      family = { name, help: undefined, type: undefined, samples: [] }
      this.#families.set(name, family)
    } else if (family !== this.#open) complain('a family is in two places')
    if (family.samples.length > 0) complain('behind samples of its family')
    this.#open = family
    if (kind === 'HELP') {
      if (family.help !== undefined) complain('a second HELP')
      if (!HELP.test(text)) complain('no help text')
      family.help = text
    } else {
      if (family.type !== undefined) complain('a second TYPE')
      if (!['counter', 'gauge', 'histogram'].includes(text)) complain('no type')
      family.type = text
    }
  }

  #sample(line: string, complain: (what: string) => void): void {
    const match = SAMPLE.exec(line)
    if (match === null) {
      complain('no sample')
      return
    }
    const [, name = '', text = '', number = ''] = match
    const labels = labelsIn(text)
    if (labels === undefined) complain('labels are malformed')
    if (!VALUE.test(number)) complain('no number')
    const family = this.#open
    const base = name.replace(/_(?:bucket|sum|count)$/, '')
    const isOwn = family?.name === (family?.type === 'histogram' ? base : name)
    if (family === undefined || !isOwn) complain('not behind the TYPE of its family')
    if (family?.type === undefined || family.help === undefined) complain('without HELP and TYPE')
    const sample = { name, labels: labels ?? {}, value: numberOf(number) }
    const key = `${name}${JSON.stringify(Object.entries(sample.labels).sort())}`
    if (this.#seen.has(key)) complain('the same sample twice')
    this.#seen.add(key)
    family?.samples.push(sample)
    this.samples.push(sample)
  }

  #checkFamily({ name, type, samples }: Family): void {
    const complain = (what: string): void => {
      this.problems.push(`${name}: ${what}`)
    }
    if (samples.length === 0) complain('no samples')
    if (UNITS.test(name)) complain('not in base units')
    if (type === 'counter' && !name.endsWith('_total')) complain('a counter that is no _total')
    if (type !== 'counter' && name.endsWith('_total')) complain('a _total that is no counter')
    if (type === 'counter' && samples.some(({ value }) => !(value >= 0))) complain('below zero')
    if (type === 'histogram') this.#checkHistogram(name, samples, complain)
    else if (samples.some(({ labels }) => 'le' in labels)) complain('le outside of a histogram')
  }

  #checkHistogram(
    name: string,
    samples: readonly Sample[],
    complain: (what: string) => void,
  ): void {
    const series = new Map<string, Sample[]>()
    for (const sample of samples) {
      const { le: _, ...labels } = sample.labels
      const key = JSON.stringify(Object.entries(labels).sort())
      series.set(key, [...(series.get(key) ?? []), sample])
    }
    for (const [key, all] of series) {
      const buckets = all.filter(sample => sample.name === `${name}_bucket`)
      const bounds = buckets.map(({ labels }) => numberOf(labels['le'] ?? 'NaN'))
      const counts = buckets.map(({ value }) => value)
      const isRising = (list: readonly number[], isStrict: boolean): boolean =>
        list.every((value, at) => at === 0 || value > list[at - 1]! - (isStrict ? 0 : 1e-9))
      if (!isRising(bounds, true)) complain(`${key}: bounds do not rise`)
      if (!isRising(counts, false)) complain(`${key}: buckets are not cumulative`)
      if (bounds.at(-1) !== Number.POSITIVE_INFINITY) complain(`${key}: no +Inf bucket`)
      const count = all.find(sample => sample.name === `${name}_count`)
      if (count?.value !== counts.at(-1)) complain(`${key}: the count is not that of +Inf`)
      if (!all.some(sample => sample.name === `${name}_sum`)) complain(`${key}: no sum`)
    }
  }
}

function labelsIn(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  while (LABEL.lastIndex < text.length) {
    const match = LABEL.exec(text)
    if (match === null || match[1]! in labels) return undefined
    labels[match[1]!] = match[2]!
  }
  return labels
}

function numberOf(text: string): number {
  return text.endsWith('Inf') ? Number(`${text}inity`) : Number(text)
}
