/**
 * Tells of requests that nobody waits for any more, by looking: a door says so in the context of
 * the request, and nobody is called. Only for what takes long; while there is nothing to look at,
 * no timer runs.
 */
import type { CancelTimer, Clock } from '../../clock.ts'
import type { RequestContext } from '../request-handler.ts'

const LOOK_MS = 100

export interface WatchedRequest {
  /** Fires, late by LOOK_MS at most, once the request is cancelled. */
  readonly signal: AbortSignal
  /** It was answered. */
  done(): void
}

export class CancelWatch {
  readonly #clock: Clock
  readonly #watched = new Map<AbortController, RequestContext>()
  #cancelLook: CancelTimer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(context: RequestContext): WatchedRequest {
    const controller = new AbortController()
    this.#watched.set(controller, context)
    this.#cancelLook ??= this.#lookLater()
    return { signal: controller.signal, done: () => this.#forget(controller) }
  }

  #lookLater(): CancelTimer {
    return this.#clock.setTimer(LOOK_MS, () => this.#look(), { background: true })
  }

  #look(): void {
    for (const [controller, context] of [...this.#watched]) {
      if (context.cancelled !== true) continue
      this.#watched.delete(controller)
      controller.abort()
    }
    this.#cancelLook = this.#watched.size === 0 ? undefined : this.#lookLater()
  }

  #forget(controller: AbortController): void {
    this.#watched.delete(controller)
    if (this.#watched.size > 0) return
    this.#cancelLook?.()
    this.#cancelLook = undefined
  }
}
