/**
 * Calls that answer at once or with a promise, where several are made before any is waited for. A
 * call that throws would leave the promises of those before it to nobody: should one of them reject
 * then, the process ends.
 */

/** What `call` gives, but for a throw, which becomes a rejection for whoever waits for them all. */
export function attempt<T>(call: () => T | Promise<T>): T | Promise<T> {
  try {
    return call()
  } catch (error) {
    return Promise.reject(error)
  }
}
