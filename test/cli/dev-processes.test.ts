// Goal: `kvd dev` runs what it says: processes that form a cluster, keep every record while one of
// them is dead, hand it what it has missed, and are gone when it ends, whichever way it does; and
// that its dashboard shows within three seconds that a node is dead.
// Method: the program itself on a real directory and real ports; nodes are killed through its own
// control, and read one by one, without a map, so that each answers from its own copy.
import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { isAlive } from '../../src/cli/node-process.ts'
import { systemClock } from '../../src/clock.ts'
import { connect } from '../../src/index.ts'
import { connect as connectTo } from '../../src/net/index.ts'
import { DashboardPage, launchBrowser, NO_BROWSER } from '../support/dashboard-page.ts'
import { DevProcess, until } from '../support/dev-process.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const clock = systemClock()
/** Out of the way of a developer’s own cluster, and below what a system gives to clients. */
const BASE_PORT = 21_000 + (process.pid % 50) * 200

const HTTP_PORT = BASE_PORT + 150
const PORTS = ['--port', String(BASE_PORT), '--http-port', String(HTTP_PORT)]
/** Whoever kills a node sees so by then. */
const SHOWN_MS_MAX = 3000

/** Looks at node 1 while node 2 is killed by `kill`. */
async function watchDeath(t: TestContext, kill: () => Promise<unknown>): Promise<void> {
  const browser = await launchBrowser()
  t.after(() => browser.close())
  const url = `http://127.0.0.1:${HTTP_PORT}/`
  const watching = await DashboardPage.open(browser, url)
  const { page } = watching
  await page.locator('#health', { hasText: 'GREEN 3 of 3 nodes up' }).waitFor()
  await watching.openKey('record 1', 'record 1')
  assert.match((await page.locator('.verdict').textContent()) ?? '', /All 3 replicas agree/)
  assert.equal(await page.locator('.key-detail table tbody tr').count(), 3)
  const killedMs = clock.monotonicMs()
  await kill()
  await page.locator('#health', { hasText: 'YELLOW 2 of 3 nodes up' }).waitFor()
  const tookMs = Math.round(clock.monotonicMs() - killedMs)
  t.diagnostic(`the dashboard shows a killed node after ${tookMs} ms`)
  assert.ok(tookMs <= SHOWN_MS_MAX, `${tookMs} ms`)
  await page.locator('[data-state=suspect], [data-state=down]').waitFor()
  await watching.screenshot('wide')
  const phone = await DashboardPage.open(browser, url, { width: 390, height: 844 })
  await phone.page.locator('#ring table').waitFor()
  await phone.screenshot('phone')
  await page.emulateMedia({ colorScheme: 'dark' })
  await watching.screenshot('dark')
  assert.deepEqual([...watching.problems, ...phone.problems], [])
  await browser.close()
}

function keysOf(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `record ${from + index}`)
}

/** Waits until the node at the address has all keys itself. */
async function untilHolds(address: string, keys: readonly string[]): Promise<void> {
  const client = await connectTo(`kv://${address}`)
  await until(async () => {
    const values = await client.getMany(keys, { consistency: 'one' })
    return values.every(value => value !== undefined)
  })
  await client.close()
}

test('a local cluster lives through the death of a node, a stop, and its own death', async t => {
  const directory = temporaryDirectory({ after })
  const dev = await DevProcess.serving(directory, PORTS)
  // Its nodes end with it, also where the test fails.
  t.after(() => dev.child.kill('SIGKILL'))
  const client = await connect(await dev.url())
  const put = (keys: readonly string[]) => Promise.all(keys.map(key => client.put(key, key)))
  await put(keysOf(0, 100))

  const kill = async () => {
    const killed = await dev.ask({ command: 'kill', node: 2 })
    assert.deepEqual(
      killed.map(({ state }) => state),
      ['running', 'stopped', 'running'],
    )
  }
  if (NO_BROWSER === false) await watchDeath(t, kill)
  else {
    t.diagnostic(`skipped: ${NO_BROWSER}`)
    await kill()
  }
  await put(keysOf(100, 200))
  const values = await client.getMany(keysOf(0, 200), { consistency: 'quorum' })
  assert.ok(values.every(value => value !== undefined))
  await client.close()

  const started = await dev.ask({ command: 'start', node: 2 })
  await until(async () => {
    const nodes = await dev.ask({ command: 'status' })
    return nodes.every(({ state }) => state === 'running')
  })
  for (const { address } of started) await untilHolds(address, keysOf(0, 200))
  const pids = (await dev.ask({ command: 'status' })).map(({ pid }) => pid!)
  dev.child.kill('SIGTERM')
  assert.equal(await dev.exited, 'code 0')
  assert.deepEqual(pids.map(isAlive), [false, false, false])

  const again = await DevProcess.serving(directory, PORTS)
  t.after(() => again.child.kill('SIGKILL'))
  const nodes = await again.ask({ command: 'status' })
  for (const { address } of nodes) await untilHolds(address, keysOf(0, 200))
  again.child.kill('SIGKILL')
  await again.exited
  await until(() => nodes.every(({ pid }) => !isAlive(pid!)))
})
