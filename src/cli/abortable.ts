/**
 * Waiting that ends at Ctrl-C. What was waited for goes on by itself and is not listened to any
 * more: a connection attempt has its own deadline, a read of standard input ends with the process.
 */
import type { Clock } from '../clock.ts'
import { AbortedError } from '../errors.ts'

/** Settles as `promise` does, or rejects with AbortedError as soon as the signal fires. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new AbortedError('aborted', { cause: signal.reason }))
    const done = (): void => signal.removeEventListener('abort', abort)
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort)
    promise.then(resolve, reject).finally(done)
  })
}

/** Resolves after `delayMs` milliseconds, or when the signal fires. Leaves no timer behind. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) {
      resolve()
      return
    }
    const end = (): void => {
      cancel()
      signal.removeEventListener('abort', end)
      resolve()
    }
    const cancel = clock.setTimer(delayMs, end)
    signal.addEventListener('abort', end)
  })
}

/** The items of `source`. Throws AbortedError as soon as the signal fires, even between items. */
export async function* untilAborted<T>(
  source: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const iterator = source[Symbol.asyncIterator]()
  let over = false
  try {
    for (;;) {
      const next = await orAborted(iterator.next(), signal)
      over = next.done === true
      if (over) return
      yield next.value
    }
  } finally {
    // Behind a read that is under way this would wait for it, so nobody waits for this.
    if (!over) iterator.return?.().then(ignore, ignore)
  }
}

function ignore(): void {}
