// Goal: the program finds out what is asked of it and where the server is, ends with the right
// code, and stops at Ctrl-C wherever it is.
// Method: whole runs of the program in a world of the test's making.
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, test } from 'node:test'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { DEFAULT_URL } from '../../src/cli/session.ts'
import { CliHarness, LIVING_PID, runCli, until } from '../support/cli-harness.ts'
import { MemoryCliFiles } from '../support/memory-cli-files.ts'
import { MemoryStore } from '../support/memory-store.ts'

describe('the address', () => {
  for (const [argv, env, url] of [
    ['ping', {}, 'kv://127.0.0.1:7700'],
    ['ping', { DURAMEN_URL: 'kv://env:1' }, 'kv://env:1'],
    ['ping', { DURAMEN_URL: 'env:1' }, 'kv://env:1'],
    ['ping', { DURAMEN_URL: '' }, 'kv://127.0.0.1:7700'],
    ['ping -u flag:2', { DURAMEN_URL: 'kv://env:1' }, 'kv://flag:2'],
    ['--url kv://a:1,b:2 ping', {}, 'kv://a:1,b:2'],
  ] as const) {
    test(`of '${argv}' with ${JSON.stringify(env)} is ${url}`, async () => {
      const run = await runCli(argv, { env })
      assert.equal(run.connects[0]?.url, url)
      assert.equal(run.connects[0]?.lazy, false)
    })
  }

  for (const [argv, env] of [
    ['ping -u http://x', {}],
    ['ping -u x:port', {}],
    ['ping', { DURAMEN_URL: 'kv://' }],
    // Not only once it is needed.
    ['', { DURAMEN_URL: 'redis://x' }],
  ] as const) {
    test(`of '${argv}' with ${JSON.stringify(env)} is refused`, async () => {
      const run = await runCli(argv, { env })
      assert.match(run.err, /^error: cannot connect to '/)
      assert.equal(run.code, ExitCode.usage)
      assert.deepEqual(run.connects, [])
    })
  }
})

describe('the local cluster of this directory', () => {
  const urlWith = async (running: string | undefined, env = {}): Promise<string> => {
    const path = './duramen-data/dev/running.json'
    const files = new MemoryCliFiles(running === undefined ? {} : { [path]: running })
    const harness = new CliHarness({ argv: 'has a', files, env })
    await harness.run()
    return harness.connects[0]?.url ?? ''
  }
  const url = 'kv://127.0.0.1:7700,127.0.0.1:7702'

  test('is the address while it runs, unless another is given', async () => {
    const running = JSON.stringify({ pid: LIVING_PID, url })
    assert.equal(await urlWith(running), url)
    assert.equal(await urlWith(running, { DURAMEN_URL: 'kv://a:1' }), 'kv://a:1')
    assert.equal(await urlWith(undefined), DEFAULT_URL)
    assert.equal(await urlWith(JSON.stringify({ pid: LIVING_PID + 1, url })), DEFAULT_URL)
    for (const text of ['', '{', '[]', '{"pid":"x"}']) {
      assert.equal(await urlWith(text), DEFAULT_URL, text)
    }
  })
})

describe('without a server', () => {
  test('a command ends with 3, and says how to start one', async () => {
    const harness = new CliHarness({ argv: 'get a' })
    harness.reachable = false
    assert.equal(await harness.run(), ExitCode.unreachable)
    assert.match(harness.err, /KV_UNAVAILABLE.*\n.* start one here with: kvd serve\n.*DURAMEN_URL/)
    assert.equal(harness.out, '')
  })

  test('of a local cluster that is down, it says how to start one of its nodes', async () => {
    const running = JSON.stringify({ pid: LIVING_PID, url: 'kv://127.0.0.1:7700' })
    const files = new MemoryCliFiles({ './duramen-data/dev/running.json': running })
    for (const [argv, hint] of [
      ['get a', /KV_UNAVAILABLE.*\n.*kvcli dev status\n.*kvcli dev start 1\n$/],
      ['get a --url 127.0.0.1:7700', /start one here with: kvd serve/],
    ] as const) {
      const harness = new CliHarness({ argv, files })
      harness.reachable = false
      assert.equal(await harness.run(), ExitCode.unreachable)
      assert.match(harness.err, hint)
    }
  })

  test('what needs none works', async () => {
    for (const argv of ['help', '--version', 'get --help']) {
      const harness = new CliHarness({ argv })
      harness.reachable = false
      assert.equal(await harness.run(), ExitCode.ok)
      assert.deepEqual(harness.connects, [])
    }
  })
})

test('the version', async () => {
  assert.equal((await runCli('--version')).out, 'kvcli 1.2.3 (Node.js v20.0.0)\n')
  const { json } = await runCli('-V --json')
  assert.deepEqual(json, [{ version: '1.2.3', node: 'v20.0.0' }])
})

test('a wrong command line ends with 2, in JSON when that is wanted', async () => {
  const text = await runCli('frobnicate')
  assert.deepEqual([text.code, text.out], [ExitCode.usage, ''])
  assert.match(text.err, /^error: unknown command 'frobnicate'; help lists the commands\n$/)
  const json = await runCli('frobnicate --json')
  assert.deepEqual([json.code, json.err], [ExitCode.usage, ''])
  assert.match(json.out, /^\{"error":\{"code":"KV_INVALID_ARGUMENT","message":"unknown command/)
})

describe('Ctrl-C', () => {
  async function interrupted(harness: CliHarness, ready: () => boolean): Promise<ExitCode> {
    const code = harness.run()
    await until(ready, () => harness.err)
    assert.equal(harness.heedsInterrupt, true)
    harness.interrupt()
    // The next one ends the process, should this one not.
    assert.equal(harness.heedsInterrupt, false)
    return await code
  }

  test('stops a command, and says whether it may have happened', async () => {
    const store = new MemoryStore()
    store.hanging = true
    const harness = new CliHarness({ argv: 'put a 1', store })
    const code = await interrupted(harness, () => store.calls.length > 0)
    assert.equal(code, ExitCode.interrupted)
    assert.match(harness.err, /^error: interrupted\n {2}-> the write may have happened/)
    assert.equal(store.closed, true)
  })

  test('stops an attempt to connect', async () => {
    const harness = new CliHarness({ argv: 'get a' })
    let connecting = false
    harness.connect = () => {
      connecting = true
      return new Promise(() => {})
    }
    const code = await interrupted(harness, () => connecting)
    assert.equal(code, ExitCode.interrupted)
    assert.equal(harness.err, 'error: interrupted\n')
  })

  test('stops waiting for a value on standard input', async () => {
    const stdin = new PassThrough()
    stdin.write('half a val')
    const harness = new CliHarness({ argv: 'put a -', stdin })
    const code = await interrupted(harness, () => stdin.readableFlowing !== null)
    assert.equal(code, ExitCode.interrupted)
    assert.deepEqual(harness.store.calls, [])
  })

  test('stops waiting for the next command of a pipe, without a word', async () => {
    const stdin = new PassThrough()
    stdin.write('put a 1\n')
    const harness = new CliHarness({ stdin })
    const code = await interrupted(harness, () => harness.out === 'OK\n')
    assert.equal(code, ExitCode.interrupted)
    assert.equal(harness.err, '')
  })

  test('stops a pipe within a command', async () => {
    const store = new MemoryStore()
    store.hanging = true
    const harness = new CliHarness({ stdin: 'get a\nget b\n', store })
    const code = await interrupted(harness, () => store.calls.length > 0)
    assert.equal(code, ExitCode.interrupted)
    assert.equal(store.calls.length, 1)
    assert.match(harness.err, /^line 1: error: interrupted/)
  })
})
