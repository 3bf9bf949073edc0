/**
 * Events of a simulation by (time, order of their scheduling): a binary heap. A cancelled event
 * stays in the heap and is skipped.
 */

export interface SimEvent {
  readonly atMs: number
  readonly sequence: number
  /** Undefined once it ran or was cancelled. */
  run: (() => void) | undefined
}

export class EventQueue {
  readonly #heap: SimEvent[] = []
  #sequence = 0

  get size(): number {
    return this.#heap.length
  }

  add(atMs: number, run: () => void): SimEvent {
    const event: SimEvent = { atMs, sequence: this.#sequence++, run }
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
    return event
  }

  /** The next event that was not cancelled, without taking it. */
  peek(): SimEvent | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.run === undefined) this.#removeFirst()
    return this.#heap[0]
  }

  take(): SimEvent | undefined {
    const event = this.peek()
    if (event !== undefined) this.#removeFirst()
    return event
  }

  #removeFirst(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}

function isBefore(one: SimEvent, other: SimEvent): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.sequence < other.sequence)
}
