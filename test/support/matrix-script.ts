/**
 * What every option set is asked to do: a list of steps as a pure function of a seed, so that no
 * option can change what is asked; and the answers, out of a plain sorted map.
 */
import type { EmbeddedOperation } from '../../src/engine/index.ts'
import type { ScanOptions } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'

const KEY_COUNT = 80
const DAY_MS = 86_400_000
/** More than a range deletes; a tilde comes after every digit. */
const RANGE_END = '~'
const SNAPSHOTS_MAX = 3

export type MatrixStep =
  | { readonly kind: 'write'; readonly operations: readonly EmbeddedOperation[] }
  /** `snapshot` is the place of one that was taken and not released. */
  | { readonly kind: 'read'; readonly keys: readonly string[]; readonly snapshot?: number }
  | { readonly kind: 'scan'; readonly range: ScanOptions; readonly snapshot?: number }
  | { readonly kind: 'take'; readonly snapshot: number }
  | { readonly kind: 'release'; readonly snapshot: number }
  | { readonly kind: 'compact' | 'idle' | 'reopen' | 'kill' }

export interface MatrixScript {
  readonly steps: readonly MatrixStep[]
  /** By step: the answer that a sorted map gives, undefined where nothing is asked. */
  readonly answers: readonly (string | undefined)[]
}

/** The answer to a read in the words of the script. */
export function readAnswer(values: readonly (string | undefined)[]): string {
  return values.map(value => value ?? '-').join(' ')
}

/** The answer to a scan. */
export function scanAnswer(entries: readonly (readonly [string, string])[]): string {
  return entries.map(([key, value]) => `${key}=${value}`).join(' ')
}

export function matrixScript(seed: number, length: number): MatrixScript {
  return new ScriptWriter(seed).write(length)
}

class ScriptWriter {
  readonly #random: Random
  readonly #steps: MatrixStep[] = []
  readonly #answers: (string | undefined)[] = []
  readonly #snapshots: (ReadonlyMap<string, string> | undefined)[] = []
  #state = new Map<string, string>()
  #writeCount = 0

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  write(length: number): MatrixScript {
    while (this.#steps.length < length) this.#step()
    return { steps: this.#steps, answers: this.#answers }
  }

  #step(): void {
    const die = this.#random.below(100)
    if (die < 50) this.#write()
    else if (die < 65) this.#read()
    else if (die < 80) this.#scan()
    else if (die < 85) this.#take()
    else if (die < 88) this.#release()
    else if (die < 91) this.#add({ kind: 'compact' })
    else if (die < 94) this.#add({ kind: 'idle' })
    else this.#restart(die < 97 ? 'reopen' : 'kill')
  }

  #add(step: MatrixStep, answer?: string): void {
    this.#steps.push(step)
    this.#answers.push(answer)
  }

  #key(): string {
    return `key-${this.#random.below(KEY_COUNT)}`
  }

  #write(): void {
    const random = this.#random
    const length = random.below(3) === 0 ? 1 + random.below(40) : 1
    const operations = Array.from({ length }, () => this.#operation())
    this.#add({ kind: 'write', operations })
  }

  #operation(): EmbeddedOperation {
    const random = this.#random
    const key = this.#key()
    if (random.below(40) === 0) {
      const end = `${key}${RANGE_END}`
      for (const other of [...this.#state.keys()]) {
        if (other >= key && other < end) this.#state.delete(other)
      }
      return { type: 'del-range', gte: key, lt: end }
    }
    if (random.below(5) === 0) {
      this.#state.delete(key)
      return { type: 'del', key }
    }
    // Compressible, and now and then longer than any block.
    const size = random.below(60) === 0 ? 9000 : random.below(150)
    const value = `${this.#writeCount++}${'ab'.repeat(size / 2)}`
    this.#state.set(key, value)
    return { type: 'put', key, value, ...(random.below(8) === 0 && { ttlMs: DAY_MS }) }
  }

  /** The state to ask, and which snapshot that is, if any. */
  #view(): [ReadonlyMap<string, string>, { snapshot?: number }] {
    const snapshot = this.#random.below(SNAPSHOTS_MAX * 2)
    const held = this.#snapshots[snapshot]
    return held === undefined ? [this.#state, {}] : [held, { snapshot }]
  }

  #read(): void {
    const [state, view] = this.#view()
    const keys = Array.from({ length: 1 + this.#random.below(12) }, () => this.#key())
    this.#add({ kind: 'read', keys, ...view }, readAnswer(keys.map(key => state.get(key))))
  }

  #scan(): void {
    const random = this.#random
    const [state, view] = this.#view()
    const reverse = random.below(2) === 0
    const limit = random.below(3) === 0 ? { limit: random.below(20) } : {}
    const gte = random.below(2) === 0 ? { gte: this.#key() } : {}
    const lt = random.below(2) === 0 ? { lt: this.#key() } : {}
    const range = { ...gte, ...lt, ...limit, reverse }
    const entries = [...state].filter(
      ([key]) => (gte.gte === undefined || key >= gte.gte) && (lt.lt === undefined || key < lt.lt),
    )
    entries.sort(([a], [b]) => (a < b ? -1 : 1))
    if (reverse) entries.reverse()
    this.#add({ kind: 'scan', range, ...view }, scanAnswer(entries.slice(0, range.limit)))
  }

  #take(): void {
    const snapshot = this.#random.below(SNAPSHOTS_MAX)
    if (this.#snapshots[snapshot] !== undefined) return
    this.#snapshots[snapshot] = new Map(this.#state)
    this.#add({ kind: 'take', snapshot })
  }

  #release(): void {
    const snapshot = this.#random.below(SNAPSHOTS_MAX)
    if (this.#snapshots[snapshot] === undefined) return
    this.#snapshots[snapshot] = undefined
    this.#add({ kind: 'release', snapshot })
  }

  #restart(kind: 'reopen' | 'kill'): void {
    this.#snapshots.length = 0
    this.#add({ kind })
  }
}
