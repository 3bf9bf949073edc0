/**
 * One listener on each AbortSignal, however many calls share it: Node warns of a leak from the
 * eleventh on, and a signal that lives as long as a program would be walked at each call.
 */
import type { PendingCall } from './call.ts'

interface Watched {
  readonly calls: Set<PendingCall>
  readonly onAbort: () => void
}

export class SignalWatch {
  readonly #aborted: (call: PendingCall, signal: AbortSignal) => void
  readonly #watched = new Map<AbortSignal, Watched>()

  constructor(aborted: (call: PendingCall, signal: AbortSignal) => void) {
    this.#aborted = aborted
  }

  /** Requires that the signal has not fired. */
  add(call: PendingCall, signal: AbortSignal): void {
    const watched = this.#watched.get(signal) ?? this.#watch(signal)
    watched.calls.add(call)
    call.removeAbortListener = () => this.#remove(call, signal, watched)
  }

  #watch(signal: AbortSignal): Watched {
    const calls = new Set<PendingCall>()
    const onAbort = (): void => {
      for (const call of [...calls]) this.#aborted(call, signal)
    }
    const watched = { calls, onAbort }
    this.#watched.set(signal, watched)
    signal.addEventListener('abort', onAbort, { once: true })
    return watched
  }

  #remove(call: PendingCall, signal: AbortSignal, { calls, onAbort }: Watched): void {
    calls.delete(call)
    if (calls.size > 0) return
    this.#watched.delete(signal)
    signal.removeEventListener('abort', onAbort)
  }
}
