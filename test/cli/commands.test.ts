// Goal: every command does what its help says, shows it to people and to programs, and ends with
// the exit code that scripts test.
// Method: one-shot runs of the whole program over a store in memory; one generic check that with
// --json every line of every command is JSON, in success and in failure.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { commandsFor } from '../../src/cli/commands.ts'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import {
  InvalidArgumentError,
  OverloadedError,
  TimeoutError,
  UnavailableError,
} from '../../src/errors.ts'
import { CapturedOutput, CliHarness, runCli } from '../support/cli-harness.ts'
import { MemoryCliFiles } from '../support/memory-cli-files.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { VirtualScreen } from '../support/virtual-screen.ts'

const USERS = { 'user:1': 'Ada', 'user:2': 'Grace', x: '1' }

function users(): MemoryStore {
  return MemoryStore.with(USERS)
}

/** A terminal that keeps what is written to it, with its colours. */
function terminal(): CapturedOutput {
  return new CapturedOutput(new VirtualScreen())
}

describe('get', () => {
  test('into a pipe gives the value, byte for byte', async () => {
    const store = new MemoryStore()
    const value = Buffer.from([0xff, 0x00, 0x0a, 0x41])
    store.set(Buffer.from('k'), value)
    const stdout = new CapturedOutput()
    const { code } = await runCli('get k', { store, stdout })
    assert.deepEqual(stdout.bytes, value)
    assert.equal(code, ExitCode.ok)
  })

  test('on a terminal escapes what cannot be seen, and ends the line', async () => {
    const stdout = terminal()
    await runCli('get k', { store: MemoryStore.with({ k: '\u001b[2J' }), stdout })
    assert.equal(stdout.text, '"\\x1b[2J"\n')
  })

  test('of an absent key prints nothing to stdout, and ends with 1', async () => {
    const run = await runCli('get nobody', { store: users() })
    assert.deepEqual([run.out, run.err, run.code], ['', '(absent)\n', ExitCode.failed])
    const json = await runCli('get nobody --json', { store: users() })
    assert.deepEqual([json.json, json.err], [[{ key: 'nobody', found: false }], ''])
    assert.equal(json.code, ExitCode.failed)
  })

  test('tells an empty value from none', async () => {
    const run = await runCli('get k', { store: MemoryStore.with({ k: '' }) })
    assert.deepEqual([run.out, run.code], ['', ExitCode.ok])
  })

  for (const [argv, out] of [
    ['get user:1 --json', '{"key":"user:1","found":true,"value":"Ada"}\n'],
    ['get --hex 757365723a31', '416461\n'],
    ['get --hex 757365723a31 --json', '{"key":"757365723a31","found":true,"value":"416461"}\n'],
    ['get --base64 dXNlcjox', 'QWRh\n'],
  ] as const) {
    test(argv, async () => assert.equal((await runCli(argv, { store: users() })).out, out))
  }

  test('gives bytes that are no text as base64 in JSON', async () => {
    const store = MemoryStore.with({ k: Buffer.of(0xff) })
    const { json } = await runCli('get k --json', { store })
    assert.deepEqual(json, [{ key: 'k', found: true, value64: '/w==' }])
  })

  test('asks as consistently as told', async () => {
    const { store } = await runCli('get user:1 --consistency quorum -t 2s', { store: users() })
    const { consistency, timeoutMs } = store.calls[0]!.options
    assert.deepEqual([consistency, timeoutMs], ['quorum', 2000])
  })
})

describe('put', () => {
  test('stores an argument', async () => {
    const run = await runCli(['put', 'k', 'two words'])
    assert.deepEqual([run.out, run.store.text('k')], ['OK\n', 'two words'])
    const json = await runCli('put k v --json')
    assert.deepEqual(json.json, [{ ok: true, key: 'k', valueBytes: 1 }])
  })

  test('stores standard input, byte for byte', async () => {
    const stdin = Buffer.from([0xff, 0x00, 0x0a])
    for (const argv of ['put k -', 'put k -f -', 'put k --file -']) {
      const { store, code } = await runCli(argv, { stdin })
      assert.deepEqual(Buffer.from(store.entriesKept[0]![1]), stdin)
      assert.equal(code, ExitCode.ok)
    }
  })

  test('stores a file', async () => {
    const files = new MemoryCliFiles({ 'logo.png': Buffer.of(0x89, 0x50) })
    const { store } = await runCli('put logo -f logo.png', { files })
    assert.deepEqual(Buffer.from(store.entriesKept[0]![1]), Buffer.of(0x89, 0x50))
  })

  test('stores digits', async () => {
    const { store } = await runCli('put --base64 AAE= /w==')
    assert.deepEqual(
      store.entriesKept.map(entry => entry.map(part => [...part])),
      [[[0, 1], [255]]],
    )
  })

  test('passes on what it was told of time and safety', async () => {
    const { store } = await runCli('put k v --ttl 30m --durability none --consistency all')
    const { ttlMs, durability, consistency } = store.calls[0]!.options
    assert.deepEqual([ttlMs, durability, consistency], [1_800_000, 'none', 'all'])
  })

  for (const [argv, message] of [
    ['put k', /a value is missing: put <key> <value>/],
    ['put k v -f file', /a value or --file, not both/],
    ['put k - -f file', /a value or --file, not both/],
    ['put k v --ttl soon', /--ttl 'soon' is not a duration/],
    ['put k v --durability maybe', /not one of sync, interval, none/],
    ['put --hex zz 00', /the key 'zz' is not hex/],
    ['put --hex 00 zz', /the value 'zz' is not hex/],
    ['put --hex --base64 00 00', /not both/],
  ] as const) {
    test(`${argv} is refused, and nothing is stored`, async () => {
      const run = await runCli(argv)
      assert.match(run.err, message)
      assert.equal(run.code, ExitCode.usage)
      assert.deepEqual(run.store.calls, [])
    })
  }

  test('of a file that is not there fails', async () => {
    const run = await runCli('put k -f nowhere')
    assert.match(run.err, /cannot read nowhere: .* \[KV_IO\]\n {2}-> check the path/)
    assert.equal(run.code, ExitCode.failed)
  })

  test('of more than can be stored is refused before it is all read', async () => {
    let read = 0
    async function* endless() {
      for (;;) {
        read++
        yield Buffer.alloc(1024 * 1024)
      }
    }
    const { Readable } = await import('node:stream')
    const run = await runCli('put k -', { stdin: Readable.from(endless()) })
    assert.match(run.err, /standard input is longer than 64\.0 MiB/)
    assert.equal(run.code, ExitCode.failed)
    assert.ok(read < 100)
  })
})

describe('del', () => {
  test('removes one key, or several at once', async () => {
    const one = await runCli('del x', { store: users() })
    assert.deepEqual([one.out, one.store.keyTexts], ['OK\n', ['user:1', 'user:2']])
    assert.equal(one.store.calls[0]?.name, 'delete')
    const more = await runCli('del user:1 user:2 nobody --json', { store: users() })
    assert.deepEqual([more.json, more.store.keyTexts], [[{ ok: true, keys: 3 }], ['x']])
    assert.deepEqual(
      more.store.calls.map(({ name }) => name),
      ['batch'],
    )
  })
})

describe('has', () => {
  for (const [argv, out, code] of [
    ['has x', 'true\n', ExitCode.ok],
    ['has y', 'false\n', ExitCode.failed],
    ['has x --json', '{"key":"x","found":true}\n', ExitCode.ok],
    ['has y --json', '{"key":"y","found":false}\n', ExitCode.failed],
  ] as const) {
    test(argv, async () => {
      const run = await runCli(argv, { store: users() })
      assert.deepEqual([run.out, run.code, run.err], [out, code, ''])
    })
  }
})

describe('scan', () => {
  for (const [argv, out] of [
    ['scan', 'user:1\tAda\nuser:2\tGrace\nx\t1\n'],
    ['scan --prefix user:', 'user:1\tAda\nuser:2\tGrace\n'],
    ['scan --gt user:1', 'user:2\tGrace\nx\t1\n'],
    ['scan --gte user:2 --lt x', 'user:2\tGrace\n'],
    ['scan --lte user:1', 'user:1\tAda\n'],
    ['scan --reverse --limit 1', 'x\t1\n'],
    ['scan -k', 'user:1\nuser:2\nx\n'],
    ['scan --limit 2 -k', 'user:1\nuser:2\n'],
    ['scan --limit 0 -k', 'user:1\nuser:2\nx\n'],
    ['scan -p none', ''],
    ['scan --hex -p 78', '78\t31\n'],
    ['scan -p user:1 --json', '{"key":"user:1","value":"Ada"}\n'],
    ['scan -p user:1 -k --json', '{"key":"user:1"}\n'],
  ] as const) {
    test(argv, async () => {
      const run = await runCli(argv, { store: users() })
      assert.equal(run.out, out)
      assert.equal(run.code, ExitCode.ok)
      assert.equal(run.store.openScans, 0)
    })
  }

  test('escapes what would break a line', async () => {
    const store = MemoryStore.with({ 'a\tb': 'c\nd' })
    assert.equal((await runCli('scan', { store })).out, '"a\\tb"\t"c\\nd"\n')
  })

  test('says when there is nothing, and when it cut', async () => {
    assert.equal((await runCli('scan', {})).err, '(no entries)\n')
    const store = new MemoryStore()
    for (let index = 0; index < 101; index++) store.set(Buffer.from(`k${index}`), Buffer.from('v'))
    const stdout = terminal()
    const cut = await runCli('scan', { store, stdout })
    assert.equal(stdout.text.split('\n').length, 101)
    assert.match(cut.err, /… and more: --limit 1000, or 0/)
    assert.equal(store.openScans, 0)
    const piped = await runCli('scan', { store })
    assert.equal(piped.out.split('\n').length, 102)
  })

  test('asks in the order that is wanted', async () => {
    const { store } = await runCli('scan --unordered', { store: users() })
    assert.equal(store.calls[0]?.options['order'], 'unordered')
  })

  test('on a terminal lines up keys and cuts values to the width', async () => {
    const store = MemoryStore.with({ a: 'v'.repeat(200), longer: '日'.repeat(100), z: '' })
    const stdout = terminal()
    await runCli('scan', { store, stdout })
    const lines = stripVTControlCharacters(stdout.text).trimEnd().split('\n')
    assert.deepEqual(lines, [
      `a       ${'v'.repeat(71)}…`,
      `longer  ${'日'.repeat(35)}…`,
      'z       ""',
    ])
  })

  test('on a terminal looks at no more of a value than it shows', async () => {
    const store = MemoryStore.with({ big: Buffer.alloc(50_000_000, 0xff), plain: 'x'.repeat(1e6) })
    const stdout = terminal()
    await runCli('scan', { store, stdout })
    const [first, second] = stripVTControlCharacters(stdout.text).split('\n')
    assert.match(first!, /^big {4}"(\\xff)+\\?x?f?…$/)
    assert.match(second!, /^plain {2}x+…$/)
  })
})

describe('count', () => {
  for (const [argv, out] of [
    ['count', '3\n'],
    ['count -p user:', '2\n'],
    ['count --json', '{"count":3,"replicasBehind":false}\n'],
  ] as const) {
    test(argv, async () => assert.equal((await runCli(argv, { store: users() })).out, out))
  }

  test('and scan say when replicas may lack something of it', async () => {
    const state = { isUp: true, isEstimate: false, partitions: 0, pendingBytes: 0 }
    const owes = [{ peer: NODE_B, writes: 1500, ...state, pendingAgeMs: 0 }]
    const store = users()
    store.adminKept['hints'] = [{ members: [{ node: NODE_A, owes }] }]
    for (const argv of ['count', 'scan']) {
      const { err } = await runCli(argv, { store })
      assert.match(err, /^note 1,500 writes were still on their way to replicas: /)
    }
    const { json } = await runCli('count --json', { store })
    assert.deepEqual(json, [{ count: 3, replicasBehind: true }])
    store.adminKept['hints'] = []
    const unknown = await runCli('count --json', { store })
    assert.deepEqual([unknown.json, unknown.err], [[{ count: 3, replicasBehind: null }], ''])
  })

  test('tells a terminal that it goes on', async () => {
    const store = users()
    store.hanging = true
    const harness = new CliHarness({ argv: 'count', store, stderr: terminal() })
    const running = harness.run()
    while (harness.clock.timerCount === 0) await yieldToEventLoop()
    harness.clock.advance(1500)
    assert.match(harness.err, /counting, 500 ms so far.*counting, 1\.50 s so far/s)
    harness.interrupt()
    await running
    assert.equal(harness.clock.timerCount, 0)
  })

  test('has more time than other commands, unless told', async () => {
    const usual = await runCli('count', {})
    assert.equal(usual.store.calls[0]?.options['timeoutMs'], 600_000)
    const told = await runCli('count -t 1s', {})
    assert.equal(told.store.calls[0]?.options['timeoutMs'], 1000)
  })
})

const NODE_A = 'a'.repeat(32)
const NODE_B = 'b'.repeat(32)

describe('stats and ping', () => {
  const statsKept = {
    node: { id: 'abc', uptimeMs: 61_000 },
    engine: {
      memory: { budget: 268_435_456, blocks: 1024 },
      levels: [
        { tables: 1, bytes: 2048 },
        { tables: 20, bytes: 0 },
      ],
      ratio: 1.23456,
      none: null,
      empty: [],
    },
    members: [
      { nodeId: NODE_A, liveness: 'up', forMs: 1500, states: { load: 3 } },
      { nodeId: NODE_B, liveness: 'down', forMs: 0 },
    ],
    peers: { [NODE_B]: { hintBytes: 2048, isSendable: false } },
  }

  test('shows figures with their units, nested ones as sections, lists as tables', async () => {
    const store = Object.assign(new MemoryStore(), { statsKept })
    const { out } = await runCli('stats', { store })
    assert.deepEqual(out.trimEnd().split('\n'), [
      'node',
      '  id      abc',
      '  uptime  1m 01s',
      'engine',
      '  ratio  1.235',
      '  none   null',
      '  empty  []',
      'engine.memory',
      '  budget  256 MiB',
      '  blocks  1.00 KiB',
      'engine.levels',
      '     tables     bytes',
      '  0       1  2.00 KiB',
      '  1      20       0 B',
      'members',
      '            liveness     for  load',
      '  aaaaaaaa        up  1.50 s     3',
      '  bbbbbbbb      down    0 us',
      'peers',
      '            hintBytes  isSendable',
      '  bbbbbbbb   2.00 KiB       false',
    ])
    const { json } = await runCli('stats --json', { store })
    assert.deepEqual(json, [statsKept])
  })

  test('ping tells how long it took', async () => {
    assert.equal((await runCli('ping', {})).out, 'PONG from kv://127.0.0.1:7700 in 0 us\n')
    const { json } = await runCli('ping --json -u there:1', {})
    assert.deepEqual(json, [{ ok: true, url: 'kv://there:1', roundTripMs: 0 }])
  })
})

describe('help', () => {
  test('of the program, of a command, and of one that is none', async () => {
    assert.match((await runCli('help', {})).out, /^Usage: kvcli \[options\] \[command\]/)
    assert.match((await runCli('help set', {})).out, /^Usage: kvcli put\|set/)
    const wrong = await runCli('help scna', {})
    assert.match(wrong.err, /there is no command 'scna'; did you mean 'scan'\? there are: get, put/)
    assert.equal(wrong.code, ExitCode.usage)
  })

  test('for programs', async () => {
    const { json } = await runCli('help get --json', {})
    const [{ commands }] = json as [{ commands: { name: string; usage: string }[] }]
    assert.deepEqual([commands[0]?.name, commands[0]?.usage], ['get', 'get <key>'])
    const all = (await runCli('help --json', {})).json as [{ commands: unknown[] }]
    assert.equal(all[0].commands.length, commandsFor('once').length)
  })
})

/** A command line for each command that needs one. */
const LINES: Readonly<Record<string, string>> = {
  get: 'get x',
  put: 'put a b',
  del: 'del x',
  has: 'has x',
  import: 'import data.jsonl',
  export: 'export out.jsonl',
  cluster: 'cluster ring',
  trace: 'trace get x',
  bench: 'bench -d 1ms -k 1 -c 1',
  latency: 'latency -n 1',
  top: 'top -n 1',
  watch: 'watch -n 1',
  context: 'context list',
  completion: 'completion bash',
}

describe('with --json', () => {
  for (const { name } of commandsFor('once')) {
    // They work on files, not on a server: debug-command.test.ts, dev.test.ts.
    if (name === 'debug' || name === 'dev') continue
    const line = LINES[name] ?? name
    function harness(): CliHarness {
      const files = new MemoryCliFiles({ 'data.jsonl': '{"key":"k","value":"v"}\n' })
      const made = new CliHarness({ argv: `${line} --json`, store: users(), files })
      // Each call takes a while, so that a benchmark comes to its end.
      const { connect } = made
      made.connect = async options => {
        const store = await connect.call(made, options)
        const get = store.get.bind(store)
        return Object.assign(store, {
          get: (...args: Parameters<typeof get>) => {
            made.clock.advance(1)
            return get(...args)
          },
          put: async () => {
            made.clock.advance(1)
          },
        })
      }
      return made
    }

    test(`${name} prints JSON and nothing else`, async () => {
      const made = harness()
      assert.equal(await made.run(), ExitCode.ok)
      assert.ok(made.json.length > 0)
      assert.equal(made.err, '')
    })

    if (commandsFor('once').find(known => known.name === name)?.needsServer === false) continue
    test(`${name} prints its error as JSON`, async () => {
      const made = harness()
      made.reachable = false
      assert.equal(await made.run(), ExitCode.unreachable)
      const { error } = made.json.at(-1) as { error: Record<string, unknown> }
      const { code, action } = error
      assert.deepEqual([code, action], ['KV_UNAVAILABLE', 'retry'])
      assert.equal(made.err, '')
    })
  }
})

describe('an error', () => {
  for (const [error, code] of [
    [new InvalidArgumentError('too long'), ExitCode.usage],
    [new TimeoutError('too late'), ExitCode.failed],
    [new OverloadedError('too much', 100), ExitCode.failed],
    [new UnavailableError('gone'), ExitCode.unreachable],
    [new TypeError('a bug'), ExitCode.failed],
  ] as const) {
    test(`${error.name} ends with ${code}`, async () => {
      const store = users()
      store.failNext = error
      const run = await runCli('get x', { store })
      assert.equal(run.code, code)
      assert.ok(run.err.startsWith('error: '))
      assert.ok(run.err.includes(error.message))
      assert.equal(run.out, '')
      assert.equal(store.closed, true)
    })
  }
})
