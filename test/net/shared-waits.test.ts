// Goal: requests that wait for one promise are answered once each, in order, with one reaction to
// it, whatever else waits; and a promise that comes again after it settled is no exception.
// Method: promises that count who reacts to them.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { ServerRequest } from '../../src/net/server-request.ts'
import { type LateAnswer, SharedWaits } from '../../src/net/shared-waits.ts'
import { EVERYBODY } from '../support/caller.ts'
import { Later } from '../support/session-harness.ts'

class Answers implements LateAnswer<ServerRequest> {
  readonly seen: [id: number, what: string][] = []

  resolved(request: ServerRequest, value: unknown): void {
    this.seen.push([request.id, String(value)])
  }

  rejected(request: ServerRequest, error: unknown): void {
    this.seen.push([request.id, String(error)])
  }
}

function requestOf(id: number): ServerRequest {
  const request = new ServerRequest({}, EVERYBODY)
  request.id = id
  return request
}

/** A promise that counts the reactions to it. */
function counted(): { later: Later<string>; reactions: () => number } {
  const later = new Later<string>()
  const { promise } = later
  let reactions = 0
  const react = promise.then.bind(promise)
  void Object.defineProperty(promise, 'then', {
    value: (...callbacks: Parameters<typeof react>) => {
      reactions++
      return react(...callbacks)
    },
  })
  return { later, reactions: () => reactions }
}

describe('shared waits', () => {
  test('one reaction answers all, in the order in which they came', async () => {
    const waits = new SharedWaits()
    const answers = new Answers()
    const { later, reactions } = counted()
    for (let id = 1; id <= 100; id++) waits.wait(later.promise, requestOf(id), answers)
    assert.equal(reactions(), 1)
    later.resolve('done')
    await yieldToEventLoop()
    const expected = Array.from({ length: 100 }, (_, index) => [index + 1, 'done'])
    assert.deepEqual(answers.seen, expected)
  })

  test('failures reach all as well', async () => {
    const waits = new SharedWaits()
    const answers = new Answers()
    const { later } = counted()
    for (let id = 1; id <= 3; id++) waits.wait(later.promise, requestOf(id), answers)
    later.reject(new Error('no'))
    await yieldToEventLoop()
    assert.deepEqual(
      answers.seen,
      [1, 2, 3].map(id => [id, 'Error: no']),
    )
  })

  test('other promises in between, and one that comes again when it is over', async () => {
    const waits = new SharedWaits()
    const answers = new Answers()
    const [a, b] = [counted(), counted()]
    for (const [id, { later }] of [a, b, a, a].entries()) {
      waits.wait(later.promise, requestOf(id), answers)
    }
    assert.deepEqual([a.reactions(), b.reactions()], [2, 1])
    b.later.resolve('b')
    await yieldToEventLoop()
    a.later.resolve('a')
    await yieldToEventLoop()
    waits.wait(a.later.promise, requestOf(9), answers)
    await yieldToEventLoop()
    assert.deepEqual(answers.seen, [
      [1, 'b'],
      [0, 'a'],
      [2, 'a'],
      [3, 'a'],
      [9, 'a'],
    ])
  })
})
