/**
 * Tells listeners what happens. An event reaches them in a later microtask, in the order in which
 * things happened, so that a listener that calls the database does not find it in the middle of a
 * step.
 *
 * Invariants:
 *  1. Without listeners an event costs a look at `active`; whoever emits asks before it builds one.
 *  2. What a listener throws or rejects with goes to the log and nowhere else.
 */
import type { Logger } from '../logger.ts'
import type { DbEvent } from './db-event.ts'

export type DbEventListener = (event: DbEvent) => unknown

export class EventStream {
  readonly #logger: Logger
  /** Replaced, never changed in place: an event goes to those who were there when it happened. */
  #listeners: readonly DbEventListener[] = []

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Whether anybody listens. */
  get active(): boolean {
    return this.#listeners.length > 0
  }

  /** Returns the function that ends it. */
  listen(listener: DbEventListener): () => void {
    // A function of its own, so that the same listener can be there twice.
    const own: DbEventListener = event => listener(event)
    this.#listeners = [...this.#listeners, own]
    return () => {
      this.#listeners = this.#listeners.filter(other => other !== own)
    }
  }

  emit(event: DbEvent): void {
    const listeners = this.#listeners
    if (listeners.length === 0) return
    queueMicrotask(() => {
      for (const listener of listeners) {
        if (this.#listeners.includes(listener)) void this.#tell(listener, event)
      }
    })
  }

  async #tell(listener: DbEventListener, event: DbEvent): Promise<void> {
    try {
      await listener(event)
    } catch (error) {
      this.#logger.warn('a listener of events failed', { event: event.type, error })
    }
  }
}
