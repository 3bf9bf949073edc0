/**
 * What happened in a simulation, in order: a hash of all of it, which two runs of one seed share,
 * and the last lines of it, for whoever has to find out why a seed failed.
 */

export interface TraceLine {
  readonly atMs: number
  readonly who: string
  readonly what: string
  readonly detail: string | number
}

const LINES_KEPT = 4096
const FNV_PRIME = 0x01000193
const FNV_OFFSET = 0x811c9dc5

export class Trace {
  readonly #kept: TraceLine[] = []
  readonly #print: ((line: string) => void) | undefined
  #count = 0
  #low = FNV_OFFSET
  #high = FNV_OFFSET ^ 0x5bd1e995
  readonly #time = new Float64Array(1)
  readonly #timeWords = new Uint32Array(this.#time.buffer)

  /** `print` is given every line as it happens. */
  constructor(print?: (line: string) => void) {
    this.#print = print
  }

  get count(): number {
    return this.#count
  }

  /** FNV-1a (Fowler, Noll, Vo) of all lines so far, in two lanes; 16 hexadecimal digits. */
  get hash(): string {
    return [this.#high, this.#low].map(lane => (lane >>> 0).toString(16).padStart(8, '0')).join('')
  }

  /** Something worth to be in the tail. */
  add(atMs: number, who: string, what: string, detail: string | number): void {
    const line = { atMs, who, what, detail }
    this.#kept[this.#count++ % LINES_KEPT] = line
    this.addDetail(atMs, who, what, detail)
  }

  /** Something that comes so often that it would hide the rest. */
  addDetail(atMs: number, who: string, what: string, detail: string | number): void {
    this.#time[0] = atMs
    this.#mix(this.#timeWords[0]!)
    this.#mix(this.#timeWords[1]!)
    this.#mixText(who)
    this.#mixText(what)
    if (typeof detail === 'number') this.#mix(detail)
    else this.#mixText(detail)
    this.#print?.(formatLine({ atMs, who, what, detail }))
  }

  /** The last lines, oldest first. */
  tail(count: number): string[] {
    const first = Math.max(0, this.#count - Math.min(count, LINES_KEPT))
    const lines: string[] = []
    for (let at = first; at < this.#count; at++)
      lines.push(formatLine(this.#kept[at % LINES_KEPT]!))
    return lines
  }

  #mixText(text: string): void {
    for (let at = 0; at < text.length; at++) this.#mix(text.charCodeAt(at))
    this.#mix(text.length)
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, FNV_PRIME)
    this.#high = Math.imul(this.#high ^ (value + (this.#low >>> 15)), FNV_PRIME)
  }
}

function formatLine({ atMs, who, what, detail }: TraceLine): string {
  return `${atMs.toFixed(3).padStart(12)} ${who.padEnd(10)} ${what} ${detail}`
}
