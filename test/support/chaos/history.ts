/**
 * What was written under load and how each write ended, outside of all processes that die: the
 * judge of what is there in the end.
 *
 * Each write has a number, and a key has one write on its way at a time, so of each key it is known
 * which values it may have: that of the last acknowledged write, or of one with an unknown outcome
 * that was begun after it. An earlier one has a smaller version and can never come back.
 */

export const VALUE_SIZE = 100

export type Verdict = 'right' | 'lost' | 'foreign'

export class WriteHistory {
  readonly keyCount: number
  /** Number of the last acknowledged write of each key; 0 for none. */
  readonly #acknowledged: Float64Array
  /** Writes after that whose outcome is unknown. */
  readonly #possible = new Map<number, number[]>()
  readonly #busy = new Set<number>()
  #last = 0
  acknowledgedCount = 0

  constructor(keyCount: number) {
    this.keyCount = keyCount
    this.#acknowledged = new Float64Array(keyCount)
  }

  isBusy(key: number): boolean {
    return this.#busy.has(key)
  }

  /** A write begins; its number. Requires that the key is not busy. */
  begin(key: number): number {
    this.#busy.add(key)
    return ++this.#last
  }

  acknowledged(key: number, number: number): void {
    this.#busy.delete(key)
    this.#acknowledged[key] = number
    this.#possible.delete(key)
    this.acknowledgedCount++
  }

  /** The write failed; `isUnknown`: it may have happened all the same, or still happen. */
  failed(key: number, number: number, isUnknown: boolean): void {
    this.#busy.delete(key)
    if (!isUnknown) return
    const possible = this.#possible.get(key) ?? []
    possible.push(number)
    this.#possible.set(key, possible)
  }

  /** Keys of which a write was acknowledged. */
  written(): number[] {
    return [...this.#acknowledged.keys()].filter(key => this.#acknowledged[key]! > 0)
  }

  judge(key: number, value: string | undefined): Verdict {
    const acknowledged = this.#acknowledged[key]!
    const number = value === undefined ? 0 : numberOf(key, value)
    if (number === undefined) return 'foreign'
    if (number === acknowledged || this.#possible.get(key)?.includes(number) === true)
      return 'right'
    return 'lost'
  }
}

export function keyText(key: number): string {
  return `chaos:${String(key).padStart(7, '0')}`
}

export function valueText(key: number, number: number): string {
  return `${keyText(key)}=${number};`.padEnd(VALUE_SIZE, '.')
}

/** The number of the write that made the value; undefined for what no write of the key made. */
function numberOf(key: number, value: string): number | undefined {
  const match = /^(chaos:\d+)=(\d+);\.*$/.exec(value)
  return match?.[1] === keyText(key) ? Number(match[2]) : undefined
}
