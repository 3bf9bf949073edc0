/** Which copies of the replicas are not what they must be in the end. */
import { keyText, type WriteHistory } from './history.ts'
import type { ChaosSubject } from './subject.ts'

const CHECK_COUNT = 5000

export interface CopyVerdict {
  /** Keys whose acknowledged value no replica has. */
  readonly lost: number
  /** Keys whose acknowledged value some replicas have, and others still lack at the end. */
  readonly behind: number
  /** Values that nobody wrote. */
  readonly foreign: number
}

/** What was right once stays so: nothing is written any more. */
export class CopyCheck {
  readonly #subject: ChaosSubject
  readonly #history: WriteHistory
  /** Keys to look at, for each node from 1. */
  readonly #open: number[][]
  /** Keys of which a right copy was seen. */
  readonly #found = new Set<number>()
  readonly #foreign = new Set<number>()

  constructor(subject: ChaosSubject, history: WriteHistory) {
    this.#subject = subject
    this.#history = history
    const written = history.written()
    this.#open = Array.from({ length: subject.nodeCount + 1 }, () => written)
  }

  get wrongCount(): number {
    return this.#open.slice(1).reduce((sum, keys) => sum + keys.length, 0)
  }

  /** True when every copy is right. */
  async look(): Promise<boolean> {
    for (let node = 1; node <= this.#subject.nodeCount; node++) {
      this.#open[node] = await this.#wrongOn(node, this.#open[node]!)
    }
    return this.wrongCount === 0
  }

  async #wrongOn(node: number, keys: readonly number[]): Promise<number[]> {
    const wrong: number[] = []
    for (let at = 0; at < keys.length; at += CHECK_COUNT) {
      const some = keys.slice(at, at + CHECK_COUNT)
      const copies = await this.#subject.copies(node, some.map(keyText))
      for (const [index, copy] of copies.entries()) {
        const key = some[index]!
        if (copy === 'elsewhere') continue
        const verdict = this.#history.judge(key, copy.value)
        if (verdict === 'right') this.#found.add(key)
        else wrong.push(key)
        if (verdict === 'foreign') this.#foreign.add(key)
      }
    }
    return wrong
  }

  verdict(): CopyVerdict {
    const wrong = new Set(this.#open.slice(1).flat())
    const lost = [...wrong].filter(key => !this.#found.has(key)).length
    return { lost, behind: wrong.size - lost, foreign: this.#foreign.size }
  }
}
