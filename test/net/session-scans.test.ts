// Goal: a scan on the server delivers every entry of its range once, page by page, in credit order,
// and never skips a page silently; forgotten and failed scans hold nothing.
// Method: sessions over the map handler, answering at once and later; failing handlers; a clock.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { UnavailableError } from '../../src/errors.ts'
import type { ServerLimits } from '../../src/net/limits.ts'
import { Status } from '../../src/net/opcode.ts'
import type { Request } from '../../src/net/request.ts'
import type { HandlerScan, RequestHandler, ScanPage } from '../../src/net/request-handler.ts'
import { MemoryHandler } from '../support/memory-handler.ts'
import { Later, type Reply, SessionHarness, SMALL_LIMITS } from '../support/session-harness.ts'

const ALL: HandlerScan = { reverse: false, order: 'ordered', keysOnly: false, cursor: undefined }
const NEXT: Request = { type: 'scanNext', scanId: 1, entriesMax: 10, bytesMax: 1000 }

function open(scan: Partial<HandlerScan> = {}, limit = 0, scanId = 1): Request {
  const whole = { ...ALL, ...scan }
  return { type: 'scanOpen', scan: whole, scanId, limit, entriesMax: 10, bytesMax: 1000 }
}

async function filled(
  count: number,
  later: boolean,
  limits: Partial<ServerLimits> = {},
): Promise<{ harness: SessionHarness; handler: MemoryHandler }> {
  const handler = new MemoryHandler({ later })
  const harness = new SessionHarness({ handler, limits })
  harness.hello()
  for (let index = 0; index < count; index++) {
    const name = utf8Encode(`k${String(index).padStart(4, '0')}`)
    harness.request({ type: 'put', key: name, value: utf8Encode(`v${index}`), ttlMs: 0 })
    await harness.settled()
  }
  return { harness, handler }
}

function statusOf(reply: Reply | undefined): number | string {
  if (reply === undefined) return 'no reply'
  return reply.response.type === 'error' ? reply.response.status : reply.response.type
}

function keysOf(replies: readonly Reply[]): string[] {
  return replies.flatMap(({ response }) =>
    response.type === 'page' ? response.keys.map(utf8Decode) : [],
  )
}

function isDone(reply: Reply | undefined): boolean {
  return reply?.response.type === 'page' && reply.response.done
}

for (const later of [false, true]) {
  describe(`scans of a handler that answers ${later ? 'later' : 'at once'}`, () => {
    test('pages come in order, asked for one by one or all at once', async () => {
      const { harness, handler } = await filled(35, later)
      harness.request(open())
      const first = await harness.settled()
      assert.equal(keysOf(first).length, 10)
      harness.request(NEXT, NEXT, NEXT, NEXT)
      const rest = await harness.settled()
      assert.equal(rest.length, 4)
      const keys = keysOf([...first, ...rest])
      assert.ok(keys.every((name, index) => index === 0 || keys[index - 1]! < name))
      assert.equal(new Set(keys).size, 35)
      assert.deepEqual(rest.map(isDone), [false, false, true, true])
      assert.equal(handler.openScans, 0)
      assert.equal(harness.session.scanCount, 0)
    })

    test('further pages may be asked for in one chunk with the first', async () => {
      const { harness } = await filled(25, later)
      harness.request(open(), NEXT, NEXT)
      const replies = await harness.settled()
      assert.equal(keysOf(replies).length, 25)
      assert.ok(isDone(replies.at(-1)))
    })

    test('a limit ends the scan', async () => {
      const { harness, handler } = await filled(30, later)
      harness.request(open({}, 12), NEXT)
      const replies = await harness.settled()
      assert.deepEqual(
        replies.map(({ response }) => (response.type === 'page' ? response.keys.length : -1)),
        [10, 2],
      )
      assert.ok(isDone(replies[1]))
      assert.equal(handler.openScans, 0)
    })

    test('keys alone come without values', async () => {
      const { harness } = await filled(3, later)
      harness.request(open({ keysOnly: true }))
      const [reply] = await harness.settled()
      assert.ok(reply?.response.type === 'page')
      assert.equal(reply.response.values, undefined)
    })

    test('an unordered scan goes on after its cursor', async () => {
      const { harness } = await filled(30, later)
      harness.request(open({ order: 'unordered' }))
      const [first] = await harness.settled()
      assert.ok(first?.response.type === 'page')
      const { cursor } = first.response
      assert.ok(cursor !== undefined)
      harness.request({ type: 'scanClose', scanId: 1 })
      harness.request(open({ order: 'unordered', cursor }), NEXT)
      const replies = await harness.settled()
      assert.equal(new Set([...keysOf([first]), ...keysOf(replies)]).size, 30)
      assert.equal(keysOf(replies).length, 20)
    })

    test('closing releases it, and then it is not found', async () => {
      const { harness, handler } = await filled(30, later)
      harness.request(open())
      await harness.settled()
      assert.equal(handler.openScans, 1)
      harness.request({ type: 'scanClose', scanId: 1 }, NEXT)
      assert.deepEqual((await harness.settled()).map(statusOf), ['done', Status.notFound])
      assert.equal(handler.openScans, 0)
      harness.request({ type: 'scanClose', scanId: 1 })
      assert.deepEqual((await harness.settled()).map(statusOf), ['done'])
    })

    test('the end of the connection releases them all', async () => {
      const { harness, handler } = await filled(30, later)
      harness.request(open({}, 0, 1), open({}, 0, 2))
      await harness.settled()
      harness.request(open({}, 0, 3), NEXT)
      harness.session.dispose()
      await harness.settled()
      assert.equal(handler.openScans, 0)
    })

    test('a name is used once at a time, and their number is limited', async () => {
      const { harness } = await filled(30, later, { scansMax: 2 })
      harness.request(open(), open(), open({}, 0, 2), open({}, 0, 3))
      const statuses = (await harness.settled()).map(statusOf)
      const expected = ['page', 'page', Status.invalidArgument, Status.overloaded]
      assert.deepEqual(new Set(statuses), new Set(expected))
      harness.request({ type: 'scanClose', scanId: 1 }, open({}, 0, 3))
      assert.deepEqual((await harness.settled()).map(statusOf), ['done', 'page'])
    })

    test('a scan that nobody reads is closed', async () => {
      const { harness, handler } = await filled(30, later, { scanIdleMs: 1000 })
      harness.request(open())
      await harness.settled()
      harness.clock.advance(900)
      harness.request(NEXT)
      await harness.settled()
      harness.clock.advance(1000)
      harness.session.sweep(harness.clock.monotonicMs())
      assert.equal(handler.openScans, 1)
      harness.clock.advance(1)
      harness.session.sweep(harness.clock.monotonicMs())
      assert.equal(handler.openScans, 0)
      harness.request(NEXT)
      assert.deepEqual((await harness.settled()).map(statusOf), [Status.notFound])
    })

    test('a reader who does not read gets no further pages until he does', async () => {
      const { harness } = await filled(30, later, {
        ...SMALL_LIMITS,
        outputPauseBytes: 100,
      })
      harness.request(open())
      harness.flush()
      await harness.settled()
      harness.stuck = true
      harness.request(NEXT)
      assert.equal((await harness.settled()).length, 1)
      harness.session.receive(new Uint8Array(0), 0, 0)
      assert.ok(harness.session.blocked)
      harness.drain()
      harness.request(NEXT)
      assert.ok(isDone((await harness.settled())[0]))
    })
  })
}

/** A handler whose scan gives these pages, one after the other. */
function scripted(pages: (() => ScanPage | Promise<ScanPage>)[]): Partial<RequestHandler> & {
  closed: number
} {
  const handler = {
    closed: 0,
    openScan: () => ({
      next: () => (pages.shift() ?? (() => assert.fail('no further page')))(),
      close() {
        handler.closed++
      },
    }),
  }
  return handler
}

const PAGE: ScanPage = { keys: [utf8Encode('a')], values: [key()], cursor: undefined, done: false }

function key(): Uint8Array {
  return utf8Encode('v')
}

describe('scans that fail', () => {
  test('an error ends the scan, and what was asked ahead of it fails too', async () => {
    const fails = (): Promise<ScanPage> => Promise.reject(new UnavailableError('replica gone'))
    const handler = scripted([() => PAGE, fails])
    const harness = new SessionHarness({ handler })
    harness.hello()
    harness.request(open(), NEXT, NEXT)
    const statuses = (await harness.settled()).map(statusOf)
    assert.equal(statuses[0], 'page')
    assert.equal(statuses[1], Status.unavailable)
    assert.ok(statuses[2] === Status.unavailable || statuses[2] === Status.notFound)
    assert.equal(handler.closed, 1)
    harness.request(NEXT)
    assert.deepEqual((await harness.settled()).map(statusOf), [Status.notFound])
  })

  test('a page that came after its deadline ends the scan instead of being skipped', async () => {
    const late = new Later<ScanPage>()
    const handler = scripted([() => PAGE, () => late.promise, () => PAGE])
    const harness = new SessionHarness({ handler })
    harness.hello()
    harness.request(open())
    harness.requestWith({ budgetMs: 10 }, NEXT)
    harness.requestWith({ budgetMs: 1000 }, NEXT)
    await harness.settled()
    harness.clock.advance(20)
    harness.session.sweep(harness.clock.monotonicMs())
    assert.deepEqual((await harness.settled()).map(statusOf), [Status.timeout])
    late.resolve(PAGE)
    assert.deepEqual((await harness.settled()).map(statusOf), [Status.notFound])
    assert.equal(handler.closed, 1)
  })

  test('what is under way for a closed scan does not touch the next of its name', async () => {
    const endings: ((late: Later<ScanPage>) => void)[] = [
      late => late.reject(new UnavailableError('replica gone')),
      late => late.resolve({ ...PAGE, done: true }),
    ]
    for (const end of endings) {
      const late = new Later<ScanPage>()
      const handler = scripted([() => late.promise, () => PAGE, () => PAGE])
      const harness = new SessionHarness({ handler })
      harness.hello()
      harness.request(open())
      harness.request({ type: 'scanClose', scanId: 1 }, open())
      await harness.settled()
      end(late)
      await harness.settled()
      harness.request(NEXT)
      const replies = await harness.settled()
      assert.deepEqual(replies.map(statusOf), ['page'])
      assert.deepEqual(keysOf(replies), ['a'])
      assert.equal(handler.closed, 1)
    }
  })

  test('more credit than allowed ends the scan', async () => {
    const never = new Promise<ScanPage>(() => undefined)
    const handler = scripted([() => never])
    const harness = new SessionHarness({ handler, limits: { scanCreditsMax: 2 } })
    harness.hello()
    harness.request(open(), NEXT, NEXT)
    assert.deepEqual((await harness.settled()).map(statusOf), [Status.overloaded])
    assert.equal(handler.closed, 1)
  })

  test('a scan that cannot be opened leaves nothing', async () => {
    for (const openScan of [
      () => {
        throw new UnavailableError('no')
      },
      () => Promise.reject(new UnavailableError('no')),
    ]) {
      const harness = new SessionHarness({ handler: { openScan } })
      harness.hello()
      harness.request(open(), NEXT)
      const statuses = (await harness.settled()).map(statusOf)
      assert.ok(statuses.includes(Status.unavailable))
      assert.equal(statuses.length, 2)
      assert.equal(harness.session.scanCount, 0)
    }
  })
})
