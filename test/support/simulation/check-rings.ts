/** There is one ring for each epoch, wherever and whenever it is seen; no node goes back. */
import type { Violations } from './violations.ts'

export class RingWatch {
  readonly #byEpoch = new Map<number, { readonly node: string; readonly ring: string }>()
  readonly #last = new Map<string, number>()
  readonly #violations: Violations

  constructor(violations: Violations) {
    this.#violations = violations
  }

  /** Epochs seen so far. */
  get epochCount(): number {
    return this.#byEpoch.size
  }

  /** `node` goes by this ring, which `ring` describes exactly. */
  saw(node: string, cluster: string, epoch: number, ring: string): void {
    const known = this.#byEpoch.get(epoch)
    if (known === undefined) this.#byEpoch.set(epoch, { node, ring })
    else if (known.ring !== ring) {
      const what = `epoch ${epoch} of ${cluster} is one ring at ${known.node}, another at ${node}`
      this.#violations.add('one ring an epoch', what)
    }
    const last = this.#last.get(node) ?? 0
    if (epoch < last) {
      this.#violations.add('epochs ascend', `${node} went from epoch ${last} back to ${epoch}`)
    }
    this.#last.set(node, Math.max(last, epoch))
  }
}
