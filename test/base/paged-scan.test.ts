// Goal: a scan delivers what its source has, in order and up to the limit, and closes the source
// exactly once, however it ends: at its end, by close(), by its signal, or with an error.
// Method: a source whose reads are answered by hand, that checks how it is used; the ways to end
// one by one; then random lives of scans.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { AbortedError, ClosedError, InvalidArgumentError } from '../../src/errors.ts'
import { type Page, PagedScan, type PageSource } from '../../src/paged-scan.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

const NO_LIMIT = Number.MAX_SAFE_INTEGER

/** Numbers from 0 on, read when the test says so. */
class Numbers implements PageSource<number> {
  readonly count: number
  readonly asked: number[] = []
  closes = 0
  at = 0
  /** Answers the read under way. */
  answer: ((error?: Error) => void) | undefined
  /** Reads are answered at once. */
  prompt = true

  constructor(count: number) {
    this.count = count
  }

  next(countMax: number): Promise<Page<number>> | Page<number> {
    assert.equal(this.closes, 0, 'a closed source is not read')
    assert.equal(this.answer, undefined, 'one read at a time')
    assert.ok(countMax >= 1)
    this.asked.push(countMax)
    if (this.prompt) return this.#page(countMax)
    return new Promise((resolve, reject) => {
      this.answer = error => {
        this.answer = undefined
        if (error === undefined) resolve(this.#page(countMax))
        else reject(error)
      }
    })
  }

  close(): void {
    assert.equal(this.answer, undefined, 'it is closed when no read is under way')
    this.closes++
  }

  #page(countMax: number): Page<number> {
    const end = Math.min(this.count, this.at + countMax)
    const items = Array.from({ length: end - this.at }, (_, index) => this.at + index)
    this.at = end
    return { items, done: end === this.count }
  }
}

/** A scan that can begin anew, as the engine's can be moved. */
class MovableScan extends PagedScan<number> {
  readonly #source: Numbers

  constructor(source: Numbers, limit: number) {
    super(source, limit)
    this.#source = source
  }

  moveTo(at: number): void {
    this.restart()
    this.#source.at = at
  }
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

const DISK = new Error('the disk fails')

describe('paged scan', () => {
  test('delivers all in order, in pages that grow, and closes at the end', async () => {
    const source = new Numbers(5000)
    const seen: number[] = []
    for await (const item of new PagedScan(source, NO_LIMIT)) seen.push(item)
    assert.deepEqual(seen, upTo(5000))
    assert.deepEqual(source.asked.slice(0, 4), [16, 32, 64, 128])
    assert.equal(Math.max(...source.asked), 1024)
    assert.equal(source.closes, 1)
  })

  test('delivers at most the limit, and asks for no more', async () => {
    const source = new Numbers(5000)
    const scan = new PagedScan(source, 100)
    assert.deepEqual(await scan.nextBatch(60), upTo(60))
    assert.deepEqual(await scan.nextBatch(60), upTo(100).slice(60))
    assert.deepEqual(await scan.nextBatch(60), [])
    assert.deepEqual(await scan.nextBatch(60), [])
    assert.deepEqual(source.asked, [60, 40])
    assert.equal(source.closes, 1)
  })

  test('reads once for all who wait', async () => {
    const source = new Numbers(5)
    const scan = new PagedScan(source, NO_LIMIT)
    const results = await Promise.all(Array.from({ length: 7 }, () => scan.next()))
    assert.deepEqual(
      results.map(({ value }) => value),
      [0, 1, 2, 3, 4, undefined, undefined],
    )
    assert.equal(source.closes, 1)
  })

  test('closes when a loop is left, by break or by an error of its own', async () => {
    const left = new Numbers(100)
    for await (const item of new PagedScan(left, NO_LIMIT)) if (item === 20) break
    assert.equal(left.closes, 1)
    const thrown = new Numbers(100)
    const loop = async () => {
      for await (const item of new PagedScan(thrown, NO_LIMIT)) if (item === 20) throw DISK
    }
    await assert.rejects(loop(), DISK)
    assert.equal(thrown.closes, 1)
  })

  test('closes when its signal fires', async () => {
    const source = new Numbers(100)
    const controller = new AbortController()
    const scan = new PagedScan(source, NO_LIMIT, controller.signal)
    const seen: number[] = []
    const loop = async () => {
      for await (const item of scan) {
        seen.push(item)
        if (item === 9) controller.abort(DISK)
      }
    }
    await assert.rejects(loop(), (error: Error) => {
      return error instanceof AbortedError && error.cause === DISK
    })
    assert.deepEqual(seen, upTo(10))
    assert.equal(source.closes, 1)
    await assert.rejects(scan.nextBatch(1), AbortedError)
    await scan.close()
    assert.equal(source.closes, 1)
  })

  test('closes when its signal fires beside a read', async () => {
    const source = new Numbers(100)
    source.prompt = false
    const controller = new AbortController()
    const scan = new PagedScan(source, NO_LIMIT, controller.signal)
    const first = assert.rejects(scan.next(), AbortedError)
    await yieldToEventLoop()
    controller.abort()
    const second = assert.rejects(scan.next(), AbortedError)
    assert.equal(source.closes, 0, 'the read is under way')
    source.answer?.()
    await Promise.all([first, second])
    assert.equal(source.closes, 1)
  })

  test('closes when a read fails, and never says that it is at its end', async () => {
    const source = new Numbers(100)
    source.prompt = false
    const scan = new PagedScan(source, NO_LIMIT)
    const loop = async () => {
      for await (const item of scan) assert.fail(`delivered ${item}`)
    }
    const reads = [loop(), scan.nextBatch(5), scan.next()].map(read => assert.rejects(read, DISK))
    await yieldToEventLoop()
    source.answer?.(DISK)
    await Promise.all(reads)
    assert.equal(source.closes, 1)
    await assert.rejects(scan.next(), DISK)
    await assert.rejects(scan.nextBatch(5), DISK)
    await scan.close()
    assert.equal(source.closes, 1)
  })

  for (const failure of [undefined, DISK]) {
    const outcome = failure === undefined ? 'succeeds' : 'fails'
    test(`waits at close for a read that ${outcome}`, async () => {
      const source = new Numbers(100)
      source.prompt = false
      const scan = new PagedScan(source, NO_LIMIT)
      const read = Promise.allSettled([scan.nextBatch(5)])
      await yieldToEventLoop()
      const closed = [scan.close(), scan.close(), scan.return()]
      await yieldToEventLoop()
      assert.equal(source.closes, 0)
      source.answer?.(failure)
      await Promise.all(closed)
      assert.equal(source.closes, 1)
      const [result] = await read
      assert.equal(result!.status, 'rejected', 'no items would say that it is at its end')
      if (failure === undefined)
        assert.ok((result as PromiseRejectedResult).reason instanceof ClosedError)
      else assert.deepEqual(result, { status: 'rejected', reason: failure })
      await assert.rejects(scan.nextBatch(5), failure ?? ClosedError)
    })
  }

  test('refuses a batch of nothing, and goes on', async () => {
    const source = new Numbers(3)
    await using scan = new PagedScan(source, NO_LIMIT)
    for (const wrong of [0, -1, 1.5, Number.NaN]) {
      await assert.rejects(scan.nextBatch(wrong), InvalidArgumentError)
    }
    assert.deepEqual(await scan.nextBatch(5), [0, 1, 2])
  })

  test('stays open at its end once it was moved, until it is closed', async () => {
    const source = new Numbers(100)
    const scan = new MovableScan(source, 30)
    assert.deepEqual(await scan.nextBatch(10), upTo(10))
    scan.moveTo(90)
    assert.deepEqual(await scan.nextBatch(20), upTo(100).slice(90))
    assert.deepEqual(await scan.nextBatch(20), [])
    scan.moveTo(0)
    assert.deepEqual(await scan.nextBatch(20), upTo(10), 'of the limit so much is left')
    assert.equal(source.closes, 0)
    await scan.close()
    assert.equal(source.closes, 1)
    assert.throws(() => scan.moveTo(0), ClosedError)
  })

  test('lives at random: in order, and closed exactly once', async context => {
    const random = seededRandom(printSeed(context))
    let failed = 0
    for (let round = 0; round < 300; round++) {
      const source = new Numbers(random.below(200))
      source.prompt = random.below(2) === 0
      const controller = new AbortController()
      const limit = random.below(3) === 0 ? random.below(200) : NO_LIMIT
      const scan = new PagedScan(source, limit, controller.signal)
      const seen: number[] = []
      const calls: Promise<PromiseSettledResult<unknown>[]>[] = []
      const watch = (call: Promise<unknown>) => void calls.push(Promise.allSettled([call]))
      const take = (items: readonly number[]) => void seen.push(...items)
      for (let step = 0; step < 20; step++) {
        const draw = random.below(20)
        if (draw < 6) {
          const call = scan.next()
          watch(call.then(({ done, value }) => done !== true && take([value])))
        } else if (draw < 12) watch(scan.nextBatch(1 + random.below(40)).then(take))
        else if (draw < 16) source.answer?.()
        else if (draw === 16) source.answer?.(DISK)
        else if (draw === 17 && random.below(4) === 0) controller.abort()
        else if (draw === 18 && random.below(4) === 0) watch(scan.close())
        else await yieldToEventLoop()
      }
      watch(scan.close())
      for (let turn = 0; turn < 30; turn++) {
        source.answer?.()
        await yieldToEventLoop()
      }
      const results = (await Promise.all(calls)).flat()
      if (results.some(({ status }) => status === 'rejected')) failed++
      assert.deepEqual(seen, upTo(seen.length), `round ${round}`)
      assert.ok(seen.length <= Math.min(limit, source.count))
      assert.equal(source.closes, 1, `round ${round}`)
    }
    assert.ok(failed > 0 && failed < 300, `${failed} of 300 ended with an error`)
  })
})
