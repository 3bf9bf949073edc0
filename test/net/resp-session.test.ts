// Goal: replies come in the order of the commands whatever answers first; a command sees what came
// before it; nobody waits for ever; strangers get nowhere; a cluster refuses what it cannot do; and
// in the end nothing is held.
// Method: a session without a socket, over handlers that answer when they are told to.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { OverloadedError, PermissionError } from '../../src/errors.ts'
import type { HandlerOperation, HandlerPut } from '../../src/net/request-handler.ts'
import { argumentsOf } from '../../src/net/resp/command-syntax.ts'
import { RespDoor } from '../../src/net/resp/index.ts'
import { seededRandom } from '../../src/random.ts'
import { EVERYBODY } from '../support/caller.ts'
import { MemoryHandler } from '../support/memory-handler.ts'
import { commandOf, RespClient } from '../support/resp-client.ts'
import { RespHarness, type RespHarnessOptions } from '../support/resp-harness.ts'
import { startResp } from '../support/resp-target.ts'
import { printSeed } from '../support/seed.ts'
import { Later } from '../support/session-harness.ts'

/** Writes become visible, and are answered, when `settle` is called. */
class SlowWrites extends MemoryHandler {
  readonly writes: { readonly later: Later<void>; readonly apply: () => void }[] = []

  override put(put: HandlerPut): Promise<void> {
    const own = { ...put, key: put.key.slice(), value: put.value.slice() }
    return this.#later(() => void super.put(own, { ...CONTEXT }))
  }

  override batch(operations: readonly HandlerOperation[]): Promise<void> {
    const own = operations.map(operation => {
      const key = operation.key.slice()
      return operation.type === 'del'
        ? { ...operation, key }
        : { ...operation, key, value: operation.value.slice() }
    })
    return this.#later(() => void super.batch(own, { ...CONTEXT }))
  }

  #later(apply: () => void): Promise<void> {
    const later = new Later<void>()
    this.writes.push({ later, apply })
    return later.promise
  }

  /** Lets the oldest write be done, or fail. */
  async settle(error?: Error): Promise<void> {
    const { later, apply } = this.writes.shift()!
    if (error === undefined) apply()
    if (error === undefined) later.resolve()
    else later.reject(error)
    await yieldToEventLoop()
  }
}

const CONTEXT = {
  deadlineMs: 0,
  consistency: 'one',
  durability: undefined,
  version: undefined,
  caller: EVERYBODY,
} as const

function slow(options: Partial<RespHarnessOptions> = {}) {
  const handler = new SlowWrites()
  return { handler, client: new RespHarness({ handler, ...options }) }
}

describe('resp session', () => {
  test('replies come in the order of the commands, whatever is answered first', async () => {
    const { handler, client } = slow()
    client.send('set a 1', 'ping', 'set b 2', 'echo x')
    assert.deepEqual(client.replies(), [])
    const [, second] = handler.writes.splice(0)
    handler.writes.push(second!)
    await handler.settle()
    assert.deepEqual(client.replies(), [])
    handler.writes.length = 0
  })

  test('puts of one pipeline are one batch, and each has its reply in its place', async () => {
    const { handler, client } = slow()
    Object.assign(handler, { canUpdate: true })
    client.send('set a 1', 'set b 2', 'set odd', 'set c 3', 'ping', 'set d 4')
    assert.equal(client.session.waitingCount, 6)
    assert.equal(handler.writes.length, 3)
    while (handler.writes.length > 0) await handler.settle()
    const [first, second, wrong, ...rest] = client.replies()
    assert.deepEqual([first, second, ...rest], ['+OK', '+OK', '+OK', '+PONG', '+OK'])
    assert.match(wrong!, /^-ERR wrong number/)
    assert.equal(handler.size, 4)
    assert.equal(client.admission.inFlight, 0)
  })

  test('what fails a batch of puts, each of them is told', async () => {
    const { handler, client } = slow({ limits: { budgetDefaultMs: 1000 } })
    Object.assign(handler, { canUpdate: true })
    client.send('set a 1', 'set b 2', 'ping')
    client.clock.advance(1001)
    client.session.sweep(client.clock.monotonicMs())
    const replies = client.replies()
    assert.deepEqual(
      replies.map(reply => reply.split(' ')[0]),
      ['-KV_TIMEOUT', '-KV_TIMEOUT', '+PONG'],
    )
    await handler.settle()
    assert.deepEqual(client.replies(), [])
    assert.equal(client.admission.inFlight + client.admission.inFlightBytes, 0)
  })

  test('what took long is in the log, with its first argument, and so is the worst', async () => {
    const { handler, client } = slow()
    client.send('config set slowlog-log-slower-than 5000 latency-monitor-threshold 30')
    for (const [command, tookMs] of [
      ['set quick 1', 4],
      ['set a secret', 20],
      ['set b secret', 40],
    ] as const) {
      client.send(command)
      client.clock.advance(tookMs)
      await handler.settle()
    }
    assert.deepEqual(client.replies(), ['+OK', '+OK', '+OK', '+OK'])
    client.send('slowlog len', 'slowlog get', 'latency latest', 'latency reset', 'latency latest')
    const [length, entries, spike, ...rest] = client.replies()
    assert.equal(length, ':2')
    assert.match(entries!, /:1 :\d+ :40000 .* set .* b .*:0 :\d+ :20000 .* set .* a .*\(1 more arg/)
    assert.doesNotMatch(entries!, /secret|quick/)
    assert.match(spike!, /command :\d+ :40 :40$/)
    assert.deepEqual(rest, [':1', '*0'])
    client.send('config set slowlog-max-len 1', 'slowlog len', 'slowlog reset', 'slowlog len')
    assert.deepEqual(client.replies(), ['+OK', ':1', '+OK', ':0'])
    client.send('config set slowlog-log-slower-than 0', 'get none', 'auth x', 'slowlog len')
    assert.equal(client.replies().at(-1), ':1', 'a read, but no password')
  })

  test('COMMAND DOCS knows the arguments of whatever takes some, and of nothing else', () => {
    const { table } = new RespDoor(seededRandom(1))
    for (const { name, arity } of table.commands) {
      if (table.subcommands(name).length > 0 || ['quit', 'debug'].includes(name)) continue
      const takesSome = arity < 0 || arity > name.split('|').length
      assert.equal(argumentsOf(name) !== undefined, takesSome, name)
    }
  })

  test('a long count of many keys is given again for a time, no other is', async () => {
    const { handler, client } = slow()
    let [count, tookMs] = [100_001, 101]
    handler.count = async () => {
      client.clock.advance(tookMs)
      return count++
    }
    const sizeNow = async () => {
      client.send('dbsize')
      await yieldToEventLoop()
      return client.replies()
    }
    assert.deepEqual(await sizeNow(), [':100001'])
    assert.deepEqual(await sizeNow(), [':100001'])
    client.clock.advance(20 * tookMs)
    tookMs = 100
    assert.deepEqual([await sizeNow(), await sizeNow()], [[':100002'], [':100003']])
    ;[count, tookMs] = [100_000, 500]
    assert.deepEqual([await sizeNow(), await sizeNow()], [[':100000'], [':100001']])
    client.send('flushall')
    await yieldToEventLoop()
    client.replies()
    assert.deepEqual(await sizeNow(), [':100002'])
  })

  test('a reply leaves when all before it have', async () => {
    const { handler, client } = slow()
    client.send('set a 1', 'ping', 'set b 2', 'echo x')
    await handler.settle()
    assert.deepEqual(client.replies(), ['+OK', '+PONG'])
    await handler.settle()
    assert.deepEqual(client.replies(), ['+OK', '$1 x'])
    assert.equal(client.session.waitingCount, 0)
  })

  test('where there are no updates a read waits for the writes before it', async () => {
    const { handler, client } = slow()
    client.send('set a 1', 'get a', 'set a 2', 'get a')
    assert.ok(client.session.blocked)
    assert.ok(client.session.hasInput)
    await handler.settle()
    client.goOn()
    assert.deepEqual(client.replies(), ['+OK', '$1 1'])
    await handler.settle()
    client.goOn()
    assert.deepEqual(client.replies(), ['+OK', '$1 2'])
  })

  test('what is about all keys begins alone, and nothing passes it', async () => {
    const { handler, client } = slow()
    client.send('set a 1', 'flushall', 'set b 2', 'ping')
    await handler.settle()
    client.goOn()
    assert.deepEqual(client.replies(), ['+OK'])
    for (let turn = 0; handler.writes.length === 0 && turn < 10; turn++) await yieldToEventLoop()
    assert.equal(handler.writes.length, 1, 'the deletion alone')
    await handler.settle()
    await yieldToEventLoop()
    client.goOn()
    assert.deepEqual(client.replies(), ['+OK'])
    await handler.settle()
    assert.deepEqual(client.replies(), ['+OK', '+PONG'])
    assert.equal(handler.size, 1)
  })

  test('a command without an answer fails at its deadline, and the next go on', async () => {
    const { handler, client } = slow({ limits: { budgetDefaultMs: 1000 } })
    client.send('set a 1', 'ping')
    client.clock.advance(1001)
    client.session.sweep(client.clock.monotonicMs())
    const [late, pong] = client.replies()
    assert.match(late!, /^-KV_TIMEOUT /)
    assert.equal(pong, '+PONG')
    await handler.settle()
    assert.deepEqual(client.replies(), [])
    assert.equal(client.admission.inFlight, 0)
  })

  test('errors of the store have their code, bugs are logged', async () => {
    const { handler, client } = slow()
    client.send('set a 1', 'set b 2')
    await handler.settle(new OverloadedError('full', 1))
    await handler.settle(new TypeError('a bug'))
    const replies = client.replies()
    assert.equal(replies[0], '-KV_OVERLOADED full')
    assert.match(replies[1]!, /^-KV_INTERNAL /)
    assert.match(client.errors.join(), /a bug/)
  })

  test('with too many unanswered commands nothing more is begun', async () => {
    const { handler, client } = slow({ limits: { connectionInFlightMax: 2 } })
    client.send('set a 1', 'set b 2', 'set c 3')
    assert.equal(handler.writes.length, 2)
    assert.ok(client.session.blocked)
    await handler.settle()
    client.goOn()
    assert.equal(handler.writes.length, 2)
    client.session.dispose()
    assert.deepEqual(
      [client.admission.inFlight, client.admission.receiveBytes, client.admission.clients],
      [0, 0, 0],
    )
  })

  test('a stranger is told to say the password, and may send little', () => {
    const handler = new MemoryHandler()
    const credentials = { user: 'me', password: 'secret' }
    const client = new RespHarness({ handler, credentials })
    client.send('get a', 'auth wrong', 'auth default secret', 'multi', 'hello 3')
    const replies = client.replies()
    assert.equal(replies[0], '-NOAUTH Authentication required.')
    assert.match(replies[1]!, /^-WRONGPASS/)
    assert.match(replies[2]!, /^-WRONGPASS/)
    assert.match(replies[3]!, /^-NOAUTH/)
    assert.match(replies[4]!, /^-NOAUTH HELLO must be called/)
    assert.equal(client.session.open, false)
    client.clock.advance(10_000)
    client.send('auth secret', 'get a', 'reset', 'get a', 'hello 3 auth me secret')
    assert.deepEqual(client.replies().slice(0, 4), [
      ...['+OK', '$-1', '+RESET', '-NOAUTH Authentication required.'],
    ])
    assert.ok(client.session.open)
    // Who is a stranger again has the time of a new one to say the password.
    assert.equal(client.session.strangeSinceMs, client.clock.monotonicMs())
    const stranger = new RespHarness({ handler, credentials })
    stranger.write(Buffer.from('*11\r\n'))
    assert.deepEqual(stranger.replies(), ['-ERR Protocol error: unauthenticated multibulk length'])
    assert.ok(stranger.session.ending)
  })

  test('lines of HTTP end the conversation: what a web page posts is no command', () => {
    for (const first of ['POST / HTTP/1.1', 'GET / HTTP/1.1', '*1\r\n$5\r\nhOsT:']) {
      const handler = new MemoryHandler()
      const client = new RespHarness({ handler })
      client.write(Buffer.from(`${first}\r\nHost: localhost:6379\r\n\r\nSET a 1\r\n`))
      const last = client.replies().at(-1)
      assert.equal(last, '-ERR Protocol error: this port speaks the protocol of Redis, not HTTP')
      assert.ok(client.session.ending, first)
      assert.equal(handler.size, 0, first)
    }
  })

  test('a reply of one value many times over is refused before it takes memory', async () => {
    const MIB = 1024 * 1024
    const limits = {
      ...{ valueSizeMax: MIB, pageBytesMax: MIB, frameSizeMax: 3 * MIB },
      ...{ outputBytesMax: 4 * MIB, outputTotalBytesMax: 8 * MIB },
    }
    const client = new RespHarness({ handler: new MemoryHandler(), limits })
    const { output } = client.session
    const reserve = output.reserve.bind(output)
    let longest = 0
    output.reserve = size => {
      longest = Math.max(longest, output.length + size)
      return reserve(size)
    }
    client.write(commandOf('set', 'a', 'x'.repeat(MIB)))
    client.send(`mget${' a'.repeat(64)}`, 'mget a a')
    await yieldToEventLoop()
    const [, refused, two] = client.replies()
    assert.match(refused!, /^-ERR the values are too much for one reply/)
    assert.ok(two!.startsWith('*2 $1048576 xxx'))
    assert.ok(longest < 5 * MIB, `${longest} bytes`)
  })

  test('what describes commands is made once, however often it is asked for', async () => {
    const client = new RespHarness({ handler: new MemoryHandler() })
    const { infos, docs } = client.door.table
    let made = 0
    for (const known of [infos, docs] as Map<unknown, unknown>[]) {
      const set = known.set.bind(known)
      known.set = (command, what) => {
        made++
        return set(command, what)
      }
    }
    client.send(`command info${' client'.repeat(2000)}`)
    client.send(`command docs${' client'.repeat(2000)}`)
    const [info, document] = client.replies()
    assert.match(info!, /^\*2000 /)
    assert.match(document!, /^\*4000 /)
    // Of a command and those within it, once each.
    assert.ok(made > 0 && made < 200, `${made} were made`)
  })

  test('what KEYS gathers is charged, and given back', async () => {
    const MIB = 1024 * 1024
    const limits = {
      ...{ valueSizeMax: MIB, pageBytesMax: MIB, frameSizeMax: 3 * MIB },
      receiveBytesMax: 4 * MIB,
    }
    const handler = new MemoryHandler()
    const client = new RespHarness({ handler, limits })
    const key = 'k'.repeat(1000)
    for (let index = 0; index < 3000; index++) client.send(`set ${key}${index} x`)
    client.replies()
    async function matching(pattern: string): Promise<string> {
      client.send(`keys ${pattern}`)
      for (let round = 0; client.session.waitingCount > 0; round++) {
        assert.ok(round < 1000, 'KEYS ends')
        await yieldToEventLoop()
      }
      assert.equal(client.admission.receiveBytes, 0)
      return client.replies()[0]!.slice(0, 20)
    }
    assert.match(await matching('*'), /^\*3000 /)
    for (let index = 3000; index < 5000; index++) client.send(`set ${key}${index} x`)
    client.replies()
    assert.match(await matching('*'), /^-KV_OVERLOADED/)
    assert.match(await matching('*9'), /^\*500 /)
    client.send('keys *')
    client.destroy()
    await yieldToEventLoop()
    assert.equal(client.admission.receiveBytes, 0)
  })

  test('where other nodes write, too, what reads and writes is refused', async () => {
    const handler = new MemoryHandler()
    const client = new RespHarness({ handler })
    client.send('set a 1', 'mset b 2 c 3', 'get a', 'mget a b x', 'exists a b x')
    await yieldToEventLoop()
    client.goOn()
    await yieldToEventLoop()
    client.goOn()
    await yieldToEventLoop()
    assert.deepEqual(client.replies(), ['+OK', '+OK', '$1 1', '*3 $1 1 $1 2 $-1', ':2'])
    const refused = ['incr a', 'set a 1 nx', 'getdel a', 'expire a 1', 'rename a b', 'append a x']
    for (const command of refused) {
      client.send(command)
      const [reply] = client.replies()
      assert.match(reply!, /which a cluster of several nodes does not offer/, command)
    }
    client.send('multi')
    assert.match(client.replies()[0]!, /^-ERR transactions are not offered in a cluster/)
    const checkKeys = (): void => {
      throw new PermissionError('not this one')
    }
    const guarded = new RespHarness({ handler: Object.assign(new MemoryHandler(), { checkKeys }) })
    guarded.send('watch a')
    await yieldToEventLoop()
    assert.match(guarded.replies()[0]!, /^-NOPERM/)
    client.send('del a x b')
    await yieldToEventLoop()
    assert.deepEqual(client.replies(), [':2'])
    assert.equal(handler.size, 1)
  })
})

describe('over an engine', () => {
  test('counters of many connections count each increment once, also in transactions', async t => {
    const { port } = await startResp(t)
    const clients = await Promise.all(Array.from({ length: 10 }, () => RespClient.connect(port)))
    const seen: string[] = []
    await Promise.all(
      clients.map(async client => {
        const commands: string[][] = []
        for (let round = 0; round < 20; round++) {
          commands.push(['incr', 'a'], ['multi'], ['incr', 'a'], ['incr', 'b'], ['exec'])
        }
        const replies = await Promise.all(commands.map(command => client.ask(...command)))
        seen.push(...replies.filter(reply => reply.startsWith(':')))
        for (const reply of replies.filter(reply => reply.startsWith('*'))) {
          seen.push(reply.split('\r\n').slice(1)[0]!.concat('\r\n'))
        }
      }),
    )
    assert.equal(new Set(seen).size, 400)
    assert.equal(await clients[0]!.ask('mget', 'a', 'b'), '*2\r\n$3\r\n400\r\n$3\r\n200\r\n')
    for (const client of clients) client.end()
  })

  test('sets of a pipeline are answered one by one, and fail one by one', async t => {
    const { port } = await startResp(t)
    const client = await RespClient.connect(port)
    const commands = [
      ...[
        ['set', 'a', '1'],
        ['set', 'a', '2'],
        ['set', '', 'x'],
        ['set', 'b', 'y'.repeat(5000)],
      ],
      ...[
        ['psetex', 'c', '100000', '3'],
        ['set', 'c', 'x', 'px', '0'],
        ['incr', 'a'],
      ],
      ...Array.from({ length: 300 }, (_, at) => ['set', `k${at % 200}`, String(at)]),
      ...[
        ['get', 'a'],
        ['strlen', 'b'],
        ['ttl', 'c'],
        ['get', 'k7'],
        ['get', 'k150'],
      ],
    ]
    client.socket.write(Buffer.concat(commands.map(command => commandOf(...command))))
    const replies = await client.take(commands.length)
    assert.match(replies[2]!, /^-ERR key must have 1 to/)
    assert.match(replies[5]!, /^-ERR invalid expire time in 'set' command/)
    assert.equal(replies[6], ':3\r\n')
    const others = [...replies.slice(0, 2), ...replies.slice(3, 5), ...replies.slice(7, 307)]
    assert.deepEqual(new Set(others), new Set(['+OK\r\n']))
    const expected = ['$1\r\n3\r\n', ':5000\r\n', ':100\r\n', '$3\r\n207\r\n', '$3\r\n150\r\n']
    assert.deepEqual(replies.slice(307), expected)
    client.end()
  })

  test('a transaction whose replies are too much writes nothing', async t => {
    const MIB = 1024 * 1024
    const { port } = await startResp(t, {
      limits: {
        ...{ valueSizeMax: MIB, pageBytesMax: MIB, frameSizeMax: 3 * MIB },
        ...{ outputBytesMax: 4 * MIB, outputTotalBytesMax: 8 * MIB },
      },
    })
    const client = await RespClient.connect(port)
    await client.ask('set', 'big', 'x'.repeat(MIB))
    const commands = [['multi'], ['set', 'a', '1'], ...Array(8).fill(['get', 'big']), ['exec']]
    const replies = await Promise.all(commands.map(command => client.ask(...command)))
    assert.match(replies.at(-1)!, /^-ERR the values are too much for one reply/)
    assert.equal(await client.ask('get', 'a'), '$-1\r\n')
    client.end()
  })

  test('INFO tells what clients look for, and COMMAND all that there is', async t => {
    const { port } = await startResp(t)
    const client = await RespClient.connect(port)
    const info = await client.ask('info')
    for (const line of ['redis_version:7', 'loading:0', 'role:master', 'connected_clients:1']) {
      assert.ok(info.includes(`\r\n${line}`), line)
    }
    assert.match(info, /\r\nused_memory:[1-9]/)
    assert.match(await client.ask('info', 'memory'), /^\$\d+\r\n# Memory\r\n/)
    const count = Number((await client.ask('command', 'count')).slice(1))
    const list = await client.ask('command', 'list')
    assert.ok(list.startsWith(`*${count}\r\n`))
    await client.ask('hello', '3')
    const docs = await client.ask('command', 'docs', 'get')
    assert.match(docs, /^%1\r\n\$3\r\nget\r\n%4\r\n\$7\r\nsummary\r\n/)
    client.end()
  })

  test('SCAN returns whatever is there all the time, while others come and go', async t => {
    const random = seededRandom(printSeed(t))
    const { port } = await startResp(t)
    const client = await RespClient.connect(port)
    const other = await RespClient.connect(port)
    const stay = Array.from({ length: 500 }, (_, at) => `stay:${at}`)
    await client.ask('mset', ...stay.flatMap(key => [key, '1']))
    const found: string[] = []
    let cursor = '0'
    do {
      const name = `come:${random.below(100)}`
      await other.ask(...(random.below(2) === 0 ? ['set', name, 'x'] : ['del', name]))
      const count = String(1 + random.below(50))
      const reply = await client.ask('scan', cursor, 'match', '*a*', 'count', count)
      const parts = reply.split('\r\n')
      cursor = parts[2]!
      found.push(...parts.slice(4).filter((_, at) => at % 2 === 1))
    } while (cursor !== '0')
    const kept = found.filter(key => key.startsWith('stay:'))
    assert.deepEqual(new Set(kept), new Set(stay))
    assert.equal(kept.length, stay.length)
    assert.match(await client.ask('scan', '12345'), /^-ERR invalid cursor/)
    client.end()
    other.end()
  })
})
