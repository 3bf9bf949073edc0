/**
 * Which key comes next: uniform, zipfian or latest, as in YCSB (Cooper et al., 2010).
 *
 * The zipfian generator is the closed form of Gray et al., "Quickly generating billion-record
 * synthetic databases" (1994): one random number a key, after summing the series once. Rank 0 is
 * the most popular. Ranks need no scrambling here, because key bytes do not follow their index.
 */
import { type Random, seededRandom } from '../src/random.ts'

export const ZIPFIAN_EXPONENT = 0.99

export interface KeyChooser {
  /** An index in [0, keyCount). */
  next(): number
}

export type Distribution = 'uniform' | 'zipfian' | 'latest'

export function isDistribution(text: string): text is Distribution {
  return text === 'uniform' || text === 'zipfian' || text === 'latest'
}

class Zipfian implements KeyChooser {
  readonly #random: Random
  readonly #keyCount: number
  readonly #exponent: number
  readonly #zeta: number
  readonly #alpha: number
  readonly #eta: number

  constructor(keyCount: number, exponent: number, random: Random) {
    this.#random = random
    this.#keyCount = keyCount
    this.#exponent = exponent
    this.#zeta = zeta(keyCount, exponent)
    this.#alpha = 1 / (1 - exponent)
    this.#eta = (1 - (2 / keyCount) ** (1 - exponent)) / (1 - zeta(2, exponent) / this.#zeta)
  }

  next(): number {
    const uniform = this.#random.next()
    const scaled = uniform * this.#zeta
    if (scaled < 1) return 0
    if (scaled < 1 + 0.5 ** this.#exponent) return Math.min(1, this.#keyCount - 1)
    const rank = this.#keyCount * (this.#eta * uniform - this.#eta + 1) ** this.#alpha
    return Math.min(Math.floor(rank), this.#keyCount - 1)
  }
}

/** The sum of 1/k^exponent for k from 1 to `count`. */
export function zeta(count: number, exponent: number): number {
  let sum = 0
  for (let k = 1; k <= count; k++) sum += 1 / k ** exponent
  return sum
}

export function keyChooser(distribution: Distribution, keyCount: number, seed: number): KeyChooser {
  const random = seededRandom(seed)
  if (distribution === 'uniform') return { next: () => random.below(keyCount) }
  const zipfian = new Zipfian(keyCount, ZIPFIAN_EXPONENT, random)
  if (distribution === 'zipfian') return zipfian
  return { next: () => keyCount - 1 - zipfian.next() }
}

/** The next `count` indices, chosen before the clock starts. */
export function chooseKeys(chooser: KeyChooser, count: number): Uint32Array {
  const indices = new Uint32Array(count)
  for (let position = 0; position < count; position++) indices[position] = chooser.next()
  return indices
}
