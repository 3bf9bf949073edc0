/**
 * Wakes those who follow the log when there may be more of it to give out: something became durable
 * and visible, a feed is to end, the database failed. Costs a writer a counter while nobody
 * waits. Wakes too often are harmless, a missing one is not.
 */
export class WalProgress {
  #count = 0
  #waiting: { readonly promise: Promise<void>; readonly wake: () => void } | undefined

  /** Changes with every step. */
  get count(): number {
    return this.#count
  }

  step(): void {
    this.#count++
    const waiting = this.#waiting
    if (waiting === undefined) return
    this.#waiting = undefined
    waiting.wake()
  }

  /** Resolves once the count is another than `seen`. */
  async past(seen: number): Promise<void> {
    if (this.#count !== seen) return
    if (this.#waiting === undefined) {
      let wake: () => void = () => undefined
      const promise = new Promise<void>(resolve => {
        wake = resolve
      })
      this.#waiting = { promise, wake }
    }
    await this.#waiting.promise
  }
}
