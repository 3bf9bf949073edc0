/**
 * Requests that wait for the same promise share one reaction to it. A group commit answers all of
 * its writers with one promise: at a thousand of them that saves each a promise, two functions and
 * a turn of the microtask queue.
 *
 * Invariants:
 *  1. Every request is answered once, in the order in which they came.
 *  2. Once its promise has settled, a group takes nobody any more.
 */
/** Who takes the answer to a request that waited. Must not throw. */
export interface LateAnswer<Request> {
  resolved(request: Request, value: unknown): void
  rejected(request: Request, error: unknown): void
}

class WaitGroup {
  readonly promise: Promise<unknown>
  readonly #answers: LateAnswer<unknown>[] = []
  readonly #requests: unknown[] = []

  constructor(promise: Promise<unknown>) {
    this.promise = promise
  }

  add(request: unknown, answer: LateAnswer<unknown>): void {
    this.#requests.push(request)
    this.#answers.push(answer)
  }

  resolve(value: unknown): void {
    for (const [index, request] of this.#requests.entries()) {
      this.#answers[index]!.resolved(request, value)
    }
  }

  reject(error: unknown): void {
    for (const [index, request] of this.#requests.entries()) {
      this.#answers[index]!.rejected(request, error)
    }
  }
}

export class SharedWaits {
  /** The last group, while its promise has not settled. */
  #last: WaitGroup | undefined

  /** Answers the request when the promise settles. */
  wait<Request>(promise: Promise<unknown>, request: Request, answer: LateAnswer<Request>): void {
    let group = this.#last
    if (group?.promise !== promise) {
      group = new WaitGroup(promise)
      this.#last = group
      this.#react(group)
    }
    group.add(request, answer)
  }

  #react(group: WaitGroup): void {
    group.promise.then(
      value => {
        this.#forget(group)
        group.resolve(value)
      },
      error => {
        this.#forget(group)
        group.reject(error)
      },
    )
  }

  #forget(group: WaitGroup): void {
    if (this.#last === group) this.#last = undefined
  }
}
