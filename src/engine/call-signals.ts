/**
 * Calls that their signal may end while they wait for the disk, for room, or for a turn. The caller
 * is answered at once; what he asked for goes on, and a write may still happen.
 *
 * Invariant: one listener on each signal, however many calls share it. Node warns of a leak from
 * the eleventh on, and a signal that lives as long as a program would be walked at each call.
 */
import { AbortedError, type WriteOutcome } from '../errors.ts'

interface Watched {
  /** Of the calls that wait. */
  readonly ends: Set<() => void>
  readonly onAbort: () => void
}

export class CallSignals {
  readonly #watched = new Map<AbortSignal, Watched>()

  /**
   * What `answer` comes to, or AbortedError with `outcome` if the signal fires before. Requires
   * that it has not fired.
   */
  until<T>(
    signal: AbortSignal | undefined,
    answer: Promise<T>,
    outcome: WriteOutcome = 'rejected',
  ): Promise<T> {
    return signal === undefined ? answer : this.#until(signal, answer, outcome)
  }

  async #until<T>(signal: AbortSignal, answer: Promise<T>, outcome: WriteOutcome): Promise<T> {
    const watched = this.#watched.get(signal) ?? this.#watch(signal)
    let end!: () => void
    const aborted = new Promise<never>((_resolve, reject) => {
      end = () => {
        const message = 'the call was aborted by its signal'
        reject(new AbortedError(message, { cause: signal.reason, outcome }))
      }
    })
    watched.ends.add(end)
    try {
      return await Promise.race([answer, aborted])
    } finally {
      this.#remove(signal, watched, end)
    }
  }

  #watch(signal: AbortSignal): Watched {
    const ends = new Set<() => void>()
    const onAbort = (): void => {
      for (const end of ends) end()
    }
    const watched = { ends, onAbort }
    this.#watched.set(signal, watched)
    signal.addEventListener('abort', onAbort, { once: true })
    return watched
  }

  #remove(signal: AbortSignal, { ends, onAbort }: Watched, end: () => void): void {
    ends.delete(end)
    if (ends.size > 0) return
    this.#watched.delete(signal)
    signal.removeEventListener('abort', onAbort)
  }
}
