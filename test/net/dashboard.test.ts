// Goal: the dashboard shows what is so, asks nobody but its server, and takes no text for markup,
// wherever that comes from; what it is made of is bounded, shared and right.
// Method: figures against a clock that the test turns; then a node in this process, looked at by a
// headless Chromium, with hostile keys, values, events and names of nodes.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Page } from 'playwright-core'
import { startNode } from '../../src/cluster/index.ts'
import { silentLogger } from '../../src/logger.ts'
import { EventLog, type EventsPage, eventLogger } from '../../src/net/event-log.ts'
import { DASHBOARD_FILES } from '../../src/net/http/dashboard-files.ts'
import { LatencyHistogram } from '../../src/net/latency-histogram.ts'
import { LoadMeter } from '../../src/net/load-meter.ts'
import { seededRandom } from '../../src/random.ts'
import { DashboardPage, launchBrowser, NO_BROWSER } from '../support/dashboard-page.ts'
import { talk } from '../support/http-client.ts'
import { startHttp } from '../support/http-target.ts'
import { MemoryHandler } from '../support/memory-handler.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

/** Markup that would be seen, and would run. */
const HOSTILE = '<img src=x onerror="window.hacked=1"><b class=planted>'

function eventsOf(log: EventLog, after = 0): EventsPage {
  return JSON.parse(log.after(after)) as EventsPage
}

describe('figures', () => {
  test('of each second are those of an own histogram of that second', async t => {
    const random = seededRandom(printSeed(t))
    const clock = new SimClock()
    const load = { reads: new LatencyHistogram(), writes: new LatencyHistogram() }
    const meter = new LoadMeter(clock, () => [load])
    meter.start()
    for (let second = 0; second < 320; second++) {
      const own = new LatencyHistogram()
      for (let left = random.below(20); left > 0; left--) {
        const ms = random.below(1_000_000) / 1000
        for (const histogram of [own, load.reads]) histogram.record(ms)
      }
      await clock.advance(1000)
      const { reads, readP99Ms, writes, writeP50Ms } = meter.last!
      const isNear = (a: number | null, b: number) => Math.abs((a ?? 0) - b) <= b * 0.125 + 0.001
      assert.deepEqual([reads, writes, writeP50Ms], [own.count, 0, null])
      assert.ok(isNear(readP99Ms, own.percentileMs(0.99)), `${readP99Ms}`)
    }
    assert.equal(meter.history().atMs.length, 300)
    assert.equal(meter.history().reads.at(-1), meter.last!.reads)
    meter.stop()
  })

  test('are made once a second, however many ask', async t => {
    const [handler, clock] = [new MemoryHandler(), new SimClock()]
    const { url } = await startHttp(t, { handler, clock })
    const ask = async () => (await fetch(`${url}/v1/stats`)).json() as Promise<{ atMs: number }>
    for (const made of [1, 2, 3]) {
      const all = await Promise.all(Array.from({ length: 50 }, ask))
      assert.equal(new Set(all.map(({ atMs }) => atMs)).size, 1)
      assert.equal(handler.calls.get('stats'), made)
      clock.advance(1000)
    }
  })

  test('of events are bounded, also in a flood, and hold no stack', async () => {
    const clock = new SimClock()
    const log = new EventLog(clock)
    const logger = eventLogger(silentLogger, log)
    logger.debug('not this')
    logger.warn('refused', { why: 'x'.repeat(5000), stack: 'at' })
    logger.error('failed', { error: new TypeError('y'), stack: 'at' })
    const [first, second] = eventsOf(log).events
    assert.deepEqual([first?.level, first?.fields], ['warn', {}])
    assert.deepEqual(Object.keys(second?.fields ?? {}), ['error'])
    for (let at = 0; at < 1000; at++) logger.info('again')
    assert.equal(log.last, 40)
    log.add('info', 'flush', 'flushed')
    assert.equal(eventsOf(log, 40).events.length, 1)
    await clock.advance(10_000)
    logger.info('later')
    const [told, later] = eventsOf(log, 41).events
    assert.deepEqual([told?.message, later?.message], ['962 more were left out here', 'later'])
    for (let at = 0; at < 600; at++) {
      await clock.advance(1000)
      log.add('info', 'flush', `${at}`)
    }
    const { events, last } = eventsOf(log)
    assert.deepEqual([events.length, events.at(-1)?.sequence], [500, last])
    assert.deepEqual(eventsOf(log, last + 5), { last, events: [] })
  })
})

test('the files are served with a policy that lets nothing else in, and again only when changed', async t => {
  const { url } = await startHttp(t, { handler: new MemoryHandler() })
  const home = await fetch(url, { redirect: 'manual' })
  assert.deepEqual([home.status, home.headers.get('location')], [302, '/dashboard/'])
  for (const name of ['', ...DASHBOARD_FILES]) {
    const answer = await fetch(`${url}/dashboard/${name}`)
    assert.equal(answer.status, 200, name)
    assert.match(answer.headers.get('content-security-policy') ?? '', /^default-src 'none'; /)
    await answer.arrayBuffer()
    const headers = { 'if-none-match': answer.headers.get('etag') ?? '' }
    assert.equal((await fetch(`${url}/dashboard/${name}`, { headers })).status, 304)
  }
  for (const name of ['x.js', '../openapi.ts', '%2e%2e/openapi.ts', 'tsconfig.json']) {
    assert.equal((await fetch(`${url}/dashboard/${name}`)).status, 404)
  }
})

/** Every text that the node says of itself becomes markup. */
async function plantMarkup(page: Page): Promise<void> {
  const planted = (value: unknown): unknown => {
    if (typeof value === 'string') return `${value}${HOSTILE}`
    if (Array.isArray(value)) return value.map(planted)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, planted(inner)]))
  }
  for (const path of ['stats*', 'events*', 'trace/*']) {
    await page.route(`**/v1/${path}`, async route => {
      const answer = await route.fetch()
      await route.fulfill({ response: answer, json: planted(await answer.json()) })
    })
  }
}

test('a node is looked at', { skip: NO_BROWSER }, async t => {
  // Hooks run in their order: the directory goes when nothing uses it any more.
  const closing: (() => unknown)[] = []
  t.after(async () => {
    for (const close of closing) await close()
  })
  const launching = launchBrowser()
  const root = temporaryDirectory({ after: remove => t.after(() => remove()) })
  const node = await startNode({ directory: join(root, 'data'), port: 0, http: { port: 0 } })
  closing.push(() => node.close({ graceMs: 0 }))
  const url = `http://127.0.0.1:${node.httpAddress!.port}`
  const put = (key: string, body: string | Uint8Array) =>
    fetch(`${url}/v1/kv/${key}`, { method: 'PUT', body })
  for (let at = 0; at < 60; at++) await put(`user%3A${at}`, `value ${at}`)
  await put(encodeURIComponent(`hostile${HOSTILE}`), HOSTILE)
  await put('bytes%FF%00', Buffer.from([0xff, 0x00, 0x41]))
  const request = `GET / HTTP/1.1\r\nHost: evil.${HOSTILE}\r\n\r\n`
  const refused = await talk(node.httpAddress!.port, request, { count: 1 })
  assert.equal(refused.answers[0]?.status, 403)
  const browser = await launching
  closing.unshift(() => browser.close())

  await t.test('keys, values and events are shown as they are', async () => {
    const wide = await DashboardPage.open(browser, url)
    const { page } = wide
    assert.match((await page.locator('#health').textContent()) ?? '', /GREEN 1 of 1 node up/)
    await page.locator('#events', { hasText: 'database opened' }).waitFor()
    await page.locator('#events', { hasText: `evil.${HOSTILE}` }).waitFor()
    await wide.openKey('user:', 'user:17')
    assert.equal(await page.locator('.keys-list li').count(), 50)
    assert.match((await page.locator('.verdict').textContent()) ?? '', /one replica holds it/)
    assert.equal(await page.locator('.key-detail pre').textContent(), 'value 17')
    await page.getByRole('button', { name: 'Next 50' }).click()
    await page.locator('.keys-list').getByRole('button', { name: 'user:9', exact: true }).waitFor()
    await wide.openKey('bytes', '0x6279746573ff00')
    assert.equal(await page.getByRole('button', { name: 'Text' }).isDisabled(), true)
    assert.match((await page.locator('.key-detail pre').textContent()) ?? '', /ff 00 41 .* \.\.A$/)
    await wide.openKey('hostile', `hostile${HOSTILE}`)
    assert.equal(await page.locator('.key-detail pre').textContent(), HOSTILE)
    await page.locator('#operations-legend', { hasText: 'reads' }).waitFor()
    await wide.screenshot('one-node')
    assert.deepEqual(wide.problems, [])
    await page.close()
  })

  await t.test('names of nodes and all else that the server says is no markup', async () => {
    const planted = await DashboardPage.open(browser, url, { width: 390, height: 844 }, plantMarkup)
    const { page } = planted
    await page.locator('#nodes-table', { hasText: HOSTILE }).first().waitFor()
    await page.locator('#events-view', { hasText: `database opened${HOSTILE}` }).waitFor()
    await planted.openKey('hostile', `hostile${HOSTILE}`)
    assert.equal(await page.locator('.planted, main img').count(), 0)
    assert.equal(await page.evaluate('window.hacked'), undefined)
    assert.deepEqual(planted.problems, [])
    const width = 'document.documentElement.scrollWidth'
    assert.equal(await page.evaluate(width), 390, 'nothing is wider than the phone')
    await page.unrouteAll({ behavior: 'wait' })
    await page.close()
  })

  await t.test('a node that is gone is told, and the last figures stay', async () => {
    const watching = await DashboardPage.open(browser, url)
    await node.close({ graceMs: 0 })
    await watching.page.locator('[data-contact=lost]').waitFor()
    const text = (await watching.page.locator('#contact').textContent()) ?? ''
    assert.match(text, /no contact: the node cannot be reached; figures of /)
    assert.match((await watching.page.locator('#health').textContent()) ?? '', /1 node up/)
  })
})
