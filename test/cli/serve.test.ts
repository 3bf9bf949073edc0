// Goal: kvd says where it serves and what to type next; one Ctrl-C lets clients finish, a second
// one stops at once, and one that arrives twice (from the terminal and from npm) is one; whoever
// starts a second node learns who has the first, and what to do.
// Method: the program itself on real directories and ports, in a world whose clock, signals and
// exit are the test's.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { DaemonIo } from '../../src/cli/daemon-io.ts'
import { main } from '../../src/cli/kvd-main.ts'
import { Reloads } from '../../src/cli/reloads.ts'
import type { Clock } from '../../src/clock.ts'
import { systemClock } from '../../src/clock.ts'
import { IoError } from '../../src/errors.ts'
import { connect } from '../../src/net/index.ts'
import { Authority } from '../support/certificates.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

type Files = Record<string, string>

class Daemon {
  text = ''
  readonly exited: Promise<number>
  readonly io: DaemonIo
  #signal: (name: string) => void = () => undefined
  #exit: (code: number) => void = () => undefined
  #skippedMs = 0

  parentId = 1000
  /** @defaultValue none */
  openFilesLimit: number | undefined

  constructor(argv: readonly string[], env: DaemonIo['env'] = {}, files: Files = {}) {
    this.exited = new Promise(resolve => {
      this.#exit = resolve
    })
    const write = (text: string): void => {
      this.text += text
    }
    this.io = {
      argv,
      env,
      stdout: { write, isTTY: false },
      stderr: { write, isTTY: false },
      clock: this.#createClock(),
      packageVersion: '1.2.3',
      absolutePath: path => path,
      readText: path => files[path] ?? '',
      stampOf: path => files[path] ?? '',
      replaceFile: (path, text) => {
        files[path] = text
      },
      readSecret: () => Promise.resolve(env['TYPED'] ?? ''),
      openFilesLimit: () => this.openFilesLimit,
      parentId: () => this.parentId,
      onStopSignal: listener => {
        this.#signal = listener
      },
      onUncaught: () => undefined,
      exit: code => this.#exit(code),
    }
  }

  #createClock(): Clock {
    const clock = systemClock()
    const monotonicMs = (): number => clock.monotonicMs() + this.#skippedMs
    return Object.assign(Object.create(clock) as Clock, { monotonicMs })
  }

  signal(name: string, afterMs = 0): void {
    this.#skippedMs += afterMs
    this.#signal(name)
  }

  get port(): number {
    return Number(/listening +127\.0\.0\.1:(\d+)/.exec(this.text)?.[1])
  }
}

async function start(...argv: string[]): Promise<Daemon> {
  const daemon = new Daemon(['serve', ...argv])
  await main(daemon.io)
  return daemon
}

describe('a node', () => {
  test('tells where it is and what to type; a signal that comes twice at once is one', async () => {
    const directory = temporaryDirectory({ after })
    const daemon = await start('--dir', directory, '--port', '0')
    assert.ok(daemon.text.includes(`data        ${directory}\n`), daemon.text)
    assert.match(daemon.text, /npx kvcli --url kv:\/\/127\.0\.0\.1:\d+ put demo:greeting "hello/)
    const client = await connect(`kv://127.0.0.1:${daemon.port}`)
    await client.put('a', '1')
    await client.close()
    daemon.signal('SIGINT')
    daemon.signal('SIGINT', 20)
    assert.equal(await daemon.exited, 0)
    assert.match(daemon.text, /SIGINT: letting clients finish; once more stops at once\n.*stopped/)
  })

  test('keeps its connections below the limit of open files, and says so', async () => {
    const directory = temporaryDirectory({ after })
    const daemon = new Daemon(['serve', '--dir', directory, '--port', '0'])
    daemon.openFilesLimit = 640
    await main(daemon.io)
    const told = /limit of 640 open files leaves room for (\d+) connections.*instead of 10000.*/
    const [line = '', room] = told.exec(daemon.text) ?? []
    assert.match(line, /'ulimit -n \d{5}'/)
    const clients = []
    for (let count = 0; count < Number(room); count++) {
      clients.push(await connect(`kv://127.0.0.1:${daemon.port}`))
    }
    const oneMore = new RegExp(`${room} connections are open`)
    const refused = (timeoutMs: number) =>
      assert.rejects(connect(`kv://127.0.0.1:${daemon.port}`, { timeoutMs }), oneMore)
    // It tries until its time is over, and on a busy machine the first may not have one answer.
    await refused(200).catch(() => refused(10_000))
    for (const client of clients) await client.close()
    daemon.signal('SIGTERM')
    assert.equal(await daemon.exited, 0)
  })

  test('stops at once when it is asked a second time', async () => {
    const daemon = await start('--dir', temporaryDirectory({ after }), '--port', '0')
    const client = await connect(`kv://127.0.0.1:${daemon.port}`)
    daemon.signal('SIGTERM')
    daemon.signal('SIGTERM', 1000)
    assert.equal(await daemon.exited, 1)
    assert.match(daemon.text, /SIGTERM again: stopping at once/)
    await client.close()
  })

  test('names who has its directory or its port', async () => {
    const directory = temporaryDirectory({ after })
    const daemon = await start('--dir', directory, '--port', '0')
    const sameDirectory = await start('--dir', directory, '--port', '0')
    assert.equal(await sameDirectory.exited, 1)
    assert.match(sameDirectory.text, new RegExp(`is open in process ${process.pid} \\(`))
    const other = temporaryDirectory({ after })
    const samePort = await start('--dir', other, '--port', String(daemon.port))
    assert.equal(await samePort.exited, 1)
    assert.match(samePort.text, new RegExp(`another program listens on 127.0.0.1:${daemon.port}`))
    assert.deepEqual(readdirSync(other), [], 'nothing is made where no node starts')
    for (const { text } of [sameDirectory, samePort]) {
      assert.match(
        text,
        /-> to use the node that runs: npx kvcli; for a second one: --dir, --port and, .*--peer-po/,
      )
    }
    daemon.signal('SIGTERM')
    assert.equal(await daemon.exited, 0)
  })

  for (const [argv, code, message] of [
    [['--port', '70000'], 2, /^kvd: .*port/],
    [['--prot', '1'], 2, /^kvd: unknown option '--prot'/],
    [['--host', '0.0.0.0'], 2, /or set --allow-insecure-remote and a password \(/],
  ] as const) {
    test(`'${argv.join(' ')}' ends with exit code ${code}`, async () => {
      const daemon = await start('--dir', temporaryDirectory({ after }), ...argv)
      assert.equal(await daemon.exited, code)
      assert.match(daemon.text, message)
    })
  }
})

describe('a proxy', () => {
  test('finds the cluster, tells where it is, and stops when told', async () => {
    const node = await start('--dir', temporaryDirectory({ after }), '--port', '0')
    const daemon = new Daemon([
      ...['proxy', '--nodes', `127.0.0.1:${node.port}`, '--port', '0'],
      ...['--drain-delay', '1ms', '--resp-port', '0'],
    ])
    await main(daemon.io)
    assert.match(daemon.text, /proxy of cluster [0-9a-f]{8}\n/)
    assert.match(daemon.text, /for Redis +127\.0\.0\.1:\d+\n/)
    const client = await connect(`kv://127.0.0.1:${daemon.port}`)
    await client.put('a', '1')
    assert.equal(Buffer.from((await client.get('a'))!).toString(), '1')
    await client.close()
    for (const each of [daemon, node]) {
      each.signal('SIGTERM')
      assert.equal(await each.exited, 0)
    }
  })

  for (const [argv, message] of [
    [[], /say which cluster it stands in front of: --nodes host:port/],
    [['--nodes', 'here'], /--nodes 'here' is not addresses/],
    [['--nodes', '127.0.0.1:1', '--host', '0.0.0.0'], /or set --allow-insecure-remote/],
    [['--nodes', '127.0.0.1:1', '--dir', 'x'], /unknown option '--dir'/],
  ] as const) {
    test(`'${argv.join(' ')}' is a wrong command line`, async () => {
      const daemon = new Daemon(['proxy', ...argv])
      await main(daemon.io)
      assert.equal(await daemon.exited, 2)
      assert.match(daemon.text, message)
    })
  }
})

describe('a password', () => {
  const remote = (directory: string): string[] => [
    ...['serve', '--dir', directory, '--port', '0', '--host', '0.0.0.0'],
    '--allow-insecure-remote',
  ]

  test('is needed where other machines reach the node', async () => {
    const daemon = new Daemon(remote(temporaryDirectory({ after })))
    await main(daemon.io)
    assert.equal(await daemon.exited, 2)
    assert.match(
      daemon.text,
      /without a password: .*DURAMEN_PASSWORD, --password-file or --users-file/,
    )
  })

  for (const [name, argv, env, files, user] of [
    ['the environment', [], { DURAMEN_PASSWORD: 'open sesame' }, {}, 'default'],
    [
      'a file, which counts more',
      ['--password-file', '/run/secret', '--user', 'ali'],
      { DURAMEN_PASSWORD: 'other' },
      { '/run/secret': 'open sesame\nnot this\n' },
      'ali',
    ],
  ] as const) {
    test(`from ${name}`, async () => {
      const directory = temporaryDirectory({ after })
      const daemon = new Daemon([...remote(directory), ...argv], env, files)
      await main(daemon.io)
      const port = Number(/listening +0\.0\.0\.0:(\d+)/.exec(daemon.text)?.[1])
      assert.match(daemon.text, /other machines reach this node, and nothing is encrypted/)
      const url = `kv://127.0.0.1:${port}`
      const client = await connect(url, { user, password: 'open sesame' })
      await client.put('a', '1')
      await client.close()
      await assert.rejects(connect(url, { user, password: 'other' }), { code: 'KV_AUTHENTICATION' })
      await assert.rejects(connect(url), { code: 'KV_AUTHENTICATION' })
      assert.doesNotMatch(daemon.text, /sesame/)
      daemon.signal('SIGTERM')
      assert.equal(await daemon.exited, 0)
    })
  }

  test('of an empty file is refused', async () => {
    const argv = ['--password-file', '/run/secret']
    const daemon = new Daemon([...remote(temporaryDirectory({ after })), ...argv])
    await main(daemon.io)
    assert.equal(await daemon.exited, 2)
    assert.match(daemon.text, /secret has no password: its first line is empty/)
  })
})

describe('a start that fails', () => {
  /** Holds a port until the test is over. */
  async function busyPort(): Promise<string> {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    after(() => holder.close())
    const address = holder.address()
    assert.ok(address !== null && typeof address === 'object')
    return String(address.port)
  }

  test('makes no directory, whichever setting is to blame', async () => {
    for (const argv of [
      ['--port', await busyPort()],
      ['--port', '0', '--partitions', '3'],
      ['--port', '0', '--host', '0.0.0.0'],
      ['--port', '0', '--host', 'no.such.host.invalid'],
    ]) {
      const directory = join(temporaryDirectory({ after }), 'new')
      const daemon = await start('--dir', directory, ...argv)
      assert.notEqual(await daemon.exited, 0)
      assert.equal(existsSync(directory), false, argv.join(' '))
    }
  })

  for (const [name, argv, code, exit] of [
    ['a port in use', async () => ['--port', await busyPort()], 'KV_LOCKED', 1],
    ['a wrong setting', async () => ['--port', 'x'], 'KV_INVALID_ARGUMENT', 2],
    ['a misspelt flag', async () => ['--prot', '1'], 'KV_INVALID_ARGUMENT', 2],
    ['partitions', async () => ['--port', '0', '--partitions', '3'], 'KV_INVALID_ARGUMENT', 2],
    ['a file as directory', async () => ['--port', '0', '--dir', '/dev/null'], 'KV_IO', 1],
  ] as const) {
    test(`is one line of JSON where logs are: ${name}`, async () => {
      const directory = join(temporaryDirectory({ after }), 'new')
      const daemon = await start('--json-logs', '--dir', directory, ...(await argv()))
      assert.equal(await daemon.exited, exit)
      const lines = daemon.text.trimEnd().split('\n')
      const last = JSON.parse(lines.at(-1)!) as Record<string, unknown>
      assert.equal(last['level'], 'error')
      assert.equal(last['code'], code)
      assert.match(String(last['action']), /^[a-z-]+$/)
      assert.notEqual(last['message'], '')
      for (const line of lines) JSON.parse(line)
    })
  }
})

describe('a cluster secret', () => {
  const secret = 'correct horse battery staple'
  for (const [name, argv, env, files] of [
    ['the environment', [], { DURAMEN_CLUSTER_SECRET: secret }, {}],
    [
      'a file, which counts more',
      ['--cluster-secret-file', '/run/cluster'],
      { DURAMEN_CLUSTER_SECRET: 'short' },
      { '/run/cluster': `${secret}\nnot this\n` },
    ],
  ] as const) {
    test(`from ${name} opens the door for other nodes`, async () => {
      const directory = temporaryDirectory({ after })
      const ports = ['--port', '0', '--peer-port', '0', '--init']
      const daemon = new Daemon(['serve', '--dir', directory, ...ports, ...argv], env, files)
      await main(daemon.io)
      assert.match(daemon.text, /for nodes +127\.0\.0\.1:\d+\n/)
      assert.doesNotMatch(daemon.text, /horse/)
      daemon.signal('SIGTERM')
      assert.equal(await daemon.exited, 0)
    })
  }

  for (const [name, argv, env, message] of [
    ['is too short', [], { DURAMEN_CLUSTER_SECRET: 'short' }, /has 5 bytes, too few.*at least 16/],
    [
      'is there and others could reach it',
      ['--peer-host', '0.0.0.0'],
      { DURAMEN_CLUSTER_SECRET: secret },
      /refusing to listen on 0\.0\.0\.0: .*--allow-insecure-remote/,
    ],
  ] as const) {
    test(`that ${name} is refused`, async () => {
      const directory = temporaryDirectory({ after })
      const ports = ['--port', '0', '--peer-port', '0']
      const daemon = new Daemon(['serve', '--dir', directory, ...ports, ...argv], env)
      await main(daemon.io)
      assert.equal(await daemon.exited, 2)
      assert.match(daemon.text, message)
      assert.doesNotMatch(daemon.text, /opening the data/)
    })
  }

  test('with an empty directory and no orders begins no cluster', async () => {
    const directory = temporaryDirectory({ after })
    const argv = ['serve', '--dir', directory, '--port', '0', '--peer-port', '0']
    const daemon = new Daemon(argv, { DURAMEN_CLUSTER_SECRET: secret })
    await main(daemon.io)
    assert.equal(await daemon.exited, 2)
    assert.match(daemon.text, /is empty, and nothing says whether .*--init\) or joins one \(--join/)
    assert.doesNotMatch(daemon.text, /serving/)
  })
})

test('a node that is to end with the process that started it does', async () => {
  const directory = temporaryDirectory({ after })
  const env = { DURAMEN_STOP_WITH_PARENT: '1' }
  const daemon = new Daemon(['serve', '--dir', directory, '--port', '0'], env)
  await main(daemon.io)
  daemon.parentId = 1
  assert.equal(await daemon.exited, 0)
  assert.match(daemon.text, /the process that started this one is gone: letting clients finish/)
})

test('a file of settings that is not there is a wrong command line', async () => {
  const daemon = new Daemon(['serve', '--config', 'nowhere.json'])
  const io = {
    ...daemon.io,
    readText: (path: string) => {
      throw new IoError(`cannot read ${path}: no such file`)
    },
  }
  await main(io)
  assert.equal(await daemon.exited, 2)
  assert.match(daemon.text, /cannot read nowhere\.json/)
})

describe('a cluster', () => {
  const env = { DURAMEN_CLUSTER_SECRET: 'correct horse battery staple' }
  const ports = ['--port', '0', '--peer-port', '0']

  async function serveIn(...argv: string[]): Promise<Daemon> {
    const daemon = new Daemon(['serve', '--dir', temporaryDirectory({ after }), ...argv], env)
    await main(daemon.io)
    return daemon
  }

  test('is begun by one node and joined by another', async () => {
    const first = await serveIn(...ports, '--init', '--replication-factor', '2')
    assert.match(first.text, /a cluster of one/)
    const [, seed] = /for nodes +(127\.0\.0\.1:\d+)\n/.exec(first.text) ?? []
    const second = await serveIn(...ports, '--join', seed!)
    assert.match(second.text, /one of 2 nodes/)
    const client = await connect(`kv://127.0.0.1:${first.port}`)
    const { members } = (await client.stats()) as { members: { nodeId: string }[] }
    assert.equal(members.length, 2)
    await client.close()
    for (const daemon of [first, second]) {
      daemon.signal('SIGTERM')
      assert.equal(await daemon.exited, 0)
    }
  })

  test('is either begun or joined', async () => {
    const daemon = await serveIn(...ports, '--init', '--join', '127.0.0.1:7701')
    assert.equal(await daemon.exited, 2)
    assert.match(daemon.text, /choose one of them/)
  })

  test('is joined by who knows its secret', async () => {
    const argv = ['serve', '--dir', temporaryDirectory({ after }), '--join', '127.0.0.1:7701']
    const daemon = new Daemon(argv)
    await main(daemon.io)
    assert.equal(await daemon.exited, 2)
    assert.match(daemon.text, /join needs the secret of that cluster/)
  })
})

describe('a certificate', () => {
  test('is served at every address, and the banner says how to come in', async () => {
    const authority = new Authority('ours')
    const { cert, key } = authority.issue({ validDays: [-1, 9] })
    const files = { '/c.pem': cert, '/k.pem': key, '/ca.pem': authority.cert }
    const directory = temporaryDirectory({ after })
    const argv = ['serve', '--dir', directory, '--port', '0', '--host', '0.0.0.0']
    argv.push('--resp-port', '0', '--tls-cert', '/c.pem', '--tls-key', '/k.pem')
    const daemon = new Daemon([...argv, '--tls-ca', '/ca.pem'], { DURAMEN_PASSWORD: 'x' }, files)
    await main(daemon.io)
    const shown =
      / {4}DURAMEN_TLS_CA=\/ca.pem DURAMEN_PASSWORD=\.\.\. npx kvcli --url kvs:\/\/<host>:\d+ put/
    assert.match(daemon.text, shown)
    assert.match(daemon.text, /for Redis {3}rediss:\/\/127\.0\.0\.1:\d+\n/)
    assert.match(daemon.text, /the certificate of this node ends soon/)
    Object.assign(files, { '/c.pem': authority.issue({ validDays: [-1, 90] }).cert })
    daemon.signal('SIGHUP')
    assert.match(daemon.text, /not loaded: what there was before stays.*certificate and key/)
    Object.assign(files, { '/c.pem': cert })
    daemon.signal('SIGHUP')
    assert.match(daemon.text, /loaded anew.*CN=of ours.*\d{4}-\d\d-\d\dT/)
    daemon.signal('SIGTERM')
    assert.equal(await daemon.exited, 0)
  })

  test('of which one file is replaced before the other is no error', () => {
    const lines: string[] = []
    const log = (message: string): void => {
      lines.push(message)
    }
    const files = { stamp: '1', fit: true }
    const logger = { debug: log, info: log, warn: log, error: log }
    const reloads = new Reloads(systemClock(), logger, () => files.stamp)
    const load = (): Record<string, never> => {
      if (!files.fit) throw new Error('they do not fit')
      return {}
    }
    reloads.add({ what: 'certificate', paths: ['a', 'b'], load })
    const look = (stamp: string, fit: boolean): string[] => {
      Object.assign(files, { stamp, fit })
      reloads.check(false)
      return lines.splice(0)
    }
    assert.deepEqual(look('2', false), [])
    assert.deepEqual(look('3', true), ['loaded anew'])
    assert.deepEqual(look('4', false), [])
    assert.deepEqual(look('4', false), ['not loaded: what there was before stays'])
    assert.deepEqual(look('4', false), [], 'told once')
    assert.deepEqual(look('5', true), ['loaded anew'])
  })
})

describe('users', () => {
  const path = '/users.json'
  const files: Files = {}
  async function kvd(line: string, typed = ''): Promise<string> {
    const argv = ['user', ...line.split(' '), '--users-file', path]
    const daemon = new Daemon(argv, { TYPED: typed }, files)
    await main(daemon.io)
    return daemon.text
  }

  test('are not listed from a file that is not there', async () => {
    assert.match(await kvd('list'), /there is no file \/users.json.*KV_NOT_FOUND/)
  })

  test('are made by kvd user, and served by a node that takes changes at a hangup', async () => {
    assert.match(
      await kvd('add ada --grant read:app: monitor', 'first word'),
      /^added ada, who may/,
    )
    assert.match(await kvd('add bob', 'second word'), /^added bob, who may do: \(nothing\)/)
    assert.match(await kvd('add ada', 'x'), /has 'ada' already/)
    assert.match(await kvd('add eve', ''), /the password is empty/)
    assert.match(await kvd('grant bob reed'), /'reed' is not one of read, write, monitor, admin/)
    assert.match(await kvd('grant carl read'), /no user 'carl', but ada, bob/)
    assert.match(await kvd('grant bob read,write:app: admin'), /^changed/)
    for (const [wrong, why] of [
      ['grant bob read:', /no prefix stands behind the colon; for all keys: read\n/],
      ['grant bob read:a,write:b', /grants for other keys apart: read:a write:b\n/],
      ['revoke bob write', /'write' was not granted.*granted is: read,write:app: admin/],
    ] as const) {
      assert.match(await kvd(wrong), why)
    }
    assert.match(await kvd('revoke bob write:app:'), /may do: read:app: admin\n/)
    assert.match(await kvd('grant bob write:app:'), /may do: read,write:app: admin\n/)
    assert.match(await kvd('revoke bob admin'), /^changed/)
    assert.equal(await kvd('list'), 'ada  read:app: monitor\nbob  read,write:app:\n')
    assert.ok(!/first|second/.test(files[path]!), files[path])
    const directory = temporaryDirectory({ after })
    const argv = ['serve', '--dir', directory, '--port', '0', '--users-file', path]
    const daemon = new Daemon(argv, { DURAMEN_PASSWORD: 'of all' }, files)
    await main(daemon.io)
    const url = (user: string, password: string): string => {
      return `kv://${user}:${encodeURIComponent(password)}@127.0.0.1:${daemon.port}`
    }
    const bob = await connect(url('bob', 'second word'))
    await bob.put('app:a', '1')
    await assert.rejects(bob.put('b', '1'), { code: 'KV_PERMISSION' })
    assert.match(await kvd('remove bob'), /^removed bob/)
    daemon.signal('SIGHUP')
    assert.match(daemon.text, /users-loaded.*\n.*loaded anew/)
    await assert.rejects(bob.get('app:a'), { code: 'KV_AUTHENTICATION' })
    await bob.close()
    files[path] = '{ "format": 1, "users": [{ "name": "x" }] }'
    daemon.signal('SIGHUP')
    assert.match(daemon.text, /what there was before stays.*user 0 needs a name/)
    const owner = await connect(url('default', 'of all'))
    await owner.delete('app:a')
    const ada = await connect(url('ada', 'first word'))
    assert.equal(await ada.get('app:a'), undefined)
    for (const client of [owner, ada]) await client.close()
    daemon.signal('SIGTERM')
    assert.equal(await daemon.exited, 0)
  })
})
