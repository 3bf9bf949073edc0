// Goal: `kvd dev` makes a cluster that stays the same from run to run, shows what its nodes say and
// how they end, starts none again by itself, and leaves none behind; `kvcli dev` kills and starts
// the nodes of the one that runs.
// Method: the program and the command over files in memory, with nodes that the test speaks for,
// under a clock that the test moves.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { DaemonIo } from '../../src/cli/daemon-io.ts'
import { main } from '../../src/cli/kvd-main.ts'
import { CliHarness } from '../support/cli-harness.ts'
import { FakeDevIo, type FakeDevNode } from '../support/fake-dev-io.ts'
import { MemoryCliFiles } from '../support/memory-cli-files.ts'
import { SimClock } from '../support/sim-clock.ts'

const DIRECTORY = './duramen-data/dev'

class Dev {
  readonly clock: SimClock
  readonly dev: FakeDevIo
  text = ''
  exitCode: number | undefined
  env: Readonly<Record<string, string>> = {}
  parent = 1
  #signal: (name: string) => void = () => undefined

  constructor(dev = new FakeDevIo(), clock = new SimClock()) {
    this.dev = dev
    this.clock = clock
  }

  async run(line = ''): Promise<void> {
    const write = (text: string): void => {
      this.text += text
    }
    const io: DaemonIo = {
      argv: ['dev', ...line.split(' ').filter(word => word !== '')],
      env: this.env,
      stdout: { write, isTTY: false },
      stderr: { write, isTTY: false },
      clock: this.clock,
      packageVersion: '1.2.3',
      absolutePath: path => path,
      readText: () => '',
      stampOf: () => '',
      replaceFile: () => undefined,
      readSecret: () => Promise.resolve(''),
      openFilesLimit: () => undefined,
      parentId: () => this.parent,
      onStopSignal: listener => {
        this.#signal = listener
      },
      onUncaught: () => undefined,
      exit: code => {
        this.exitCode ??= code
      },
    }
    void main(io, this.dev)
    await this.settle()
  }

  /** Runs until all nodes serve. */
  static async serving(line = '', dev = new FakeDevIo(), clock?: SimClock): Promise<Dev> {
    const made = new Dev(dev, clock)
    await made.run(line)
    for (let turn = 0; turn < 2; turn++) {
      for (const node of dev.running) node.serve()
      await made.settle()
    }
    return made
  }

  settle(): Promise<void> {
    return this.clock.advanceAsync(0)
  }

  signal(name: string): Promise<void> {
    this.#signal(name)
    return this.settle()
  }

  node(number: number): FakeDevNode {
    const node = this.dev.running.find(running => running.number === number)
    assert.ok(node !== undefined, `node ${number} runs`)
    return node
  }

  /** What `kvcli dev …` says, and how it ends. */
  async kvcli(line: string): Promise<{ code: number; harness: CliHarness }> {
    const harness = new CliHarness({ argv: `dev ${line} --json`, files: this.dev.files })
    const io = { ...harness.io, clock: this.clock, isAlive: this.dev.isAlive.bind(this.dev) }
    Object.assign(harness, { io })
    const running = harness.run()
    for (let turn = 0; turn < 70; turn++) await this.clock.advanceAsync(100)
    return { code: await running, harness }
  }
}

/** With --json errors are on stdout. */
function said({ out, err }: CliHarness): string {
  return out + err
}

function stateOf(harness: CliHarness): string[] {
  const [{ nodes }] = harness.json as [{ nodes: { state: string }[] }]
  return nodes.map(({ state }) => state)
}

describe('a new cluster', () => {
  test('gets a secret and free ports, and its first node before the others', async () => {
    const dev = new FakeDevIo()
    for (const port of [7700, 7702, 7802]) dev.usedPorts.add(port)
    const made = new Dev(dev)
    await made.run()
    assert.equal(dev.files.text(`${DIRECTORY}/secret`), `${'5e'.repeat(32)}\n`)
    assert.equal(dev.spawned.length, 1)
    const [first] = dev.spawned
    assert.ok(first!.args.includes('--init') && !first!.args.includes('--join'))
    first!.serve()
    await made.settle()
    assert.equal(dev.spawned.length, 3)
    const layout = JSON.parse(dev.files.text(`${DIRECTORY}/cluster.json`)!) as unknown
    const nodes = [
      { number: 1, port: 7701, peerPort: 7801 },
      { number: 2, port: 7703, peerPort: 7803 },
      { number: 3, port: 7704, peerPort: 7804 },
    ]
    assert.deepEqual(layout, { nodes })
    for (const [index, { args }] of dev.spawned.entries()) {
      const { port, peerPort } = nodes[index]!
      const line = args.join(' ')
      assert.match(line, new RegExp(`--port ${port} --peer-port ${peerPort} --cluster-secret-file`))
      assert.equal(line.includes('--join 127.0.0.1:7801 '), index > 0)
    }
    assert.doesNotMatch(made.text, /In another terminal/)
    first!.log('a member is up')
    assert.doesNotMatch(made.text, /a member is up/)
    for (const node of dev.running) node.serve()
    await made.settle()
    assert.match(made.text, /a cluster of 3\n.*7701, 127\.0\.0\.1:7703, 127\.0\.0\.1:7704/)
    assert.match(made.text, /npx kvcli dev kill 2 /)
    assert.match(made.text, /\n {4}npx kvcli dev start 2 {12}and comes back\n/)
    assert.match(made.text, /\n {4}npx kvcli cluster status --wait {2}until it is GREEN\n/)
    assert.equal(made.exitCode, undefined)
  })

  test('stays as it is: the next run takes its nodes and ports, and starts them together', async () => {
    const { dev, signal } = await Dev.serving('--nodes 2 --port 9000')
    void signal
    const again = new FakeDevIo(dev.files)
    dev.files.files.delete(`${DIRECTORY}/running.json`)
    const made = new Dev(again)
    await made.run('--port 1234')
    assert.match(made.text, /^kvd: --port 1234 is for a new --dir; .* from 9000 on/m)
    assert.equal(again.spawned.length, 2)
    assert.ok(again.spawned.every(({ args }) => args.includes('--join')))
    assert.match(
      again.spawned[1]!.args.join(' '),
      /--port 9001 --peer-port 9101 .*--join 127.0.0.1:9100 /,
    )
  })

  test('that has lost the directory of its first node begins no second one', async () => {
    const { dev } = await Dev.serving('--nodes 2 --port 9000')
    for (const name of [...dev.files.files.keys()]) {
      if (/node-1|running/.test(name)) dev.files.files.delete(name)
    }
    const again = new FakeDevIo(dev.files)
    await new Dev(again).run()
    assert.ok(again.spawned.every(({ args }) => args.includes('--join')))
    assert.ok(again.spawned.every(({ args }) => !args.includes('--init')))
  })

  const refused: [string, (dev: FakeDevIo) => void, RegExp][] = [
    ['--nodes 5', () => undefined, /has a cluster of 3; for one of 5 use another --dir/],
    ['', dev => dev.usedPorts.add(7801), /port 7801 of node 2 is in use/],
    ['', dev => dev.alive.add(1000), /process 1000 runs the cluster .* already: kv:/],
    [
      '',
      dev => void dev.files.files.set(`${DIRECTORY}/cluster.json`, Buffer.from('{}')),
      /cluster\.json does not tell which nodes there are/,
    ],
  ]
  for (const [line, plant, message] of refused) {
    test(`is not started where it cannot be: ${message.source.slice(0, 30)}`, async () => {
      const { dev } = await Dev.serving()
      const running = JSON.stringify({ pid: 1000, url: 'kv://a:1' })
      dev.files.files.set(`${DIRECTORY}/running.json`, Buffer.from(running))
      const again = new FakeDevIo(dev.files)
      plant(again)
      const made = new Dev(again)
      await made.run(line)
      assert.equal(made.exitCode, 2)
      assert.match(made.text, message)
      assert.equal(again.spawned.length, 0)
    })
  }

  for (const line of [
    '--nodes 0',
    '--nodes 10',
    '--port x',
    '--resp-port 0',
    '--http-port x',
    '--memory-budget lots',
  ]) {
    test(`takes no ${line}`, async () => {
      const made = new Dev()
      await made.run(line)
      assert.equal(made.exitCode, 2)
      assert.match(made.text, new RegExp(line.split(' ')[0]!))
    })
  }

  test('serves Redis and HTTP at ports that follow each other, where it is told to', async () => {
    const made = new Dev()
    await made.run('--nodes 2 --resp-port 6379 --http-port 7780')
    made.dev.running[0]!.serve()
    await made.settle()
    const portsOf = (flag: string) =>
      made.dev.spawned.map(({ args }) => args[args.indexOf(flag) + 1])
    assert.deepEqual(portsOf('--resp-port'), ['6379', '6380'])
    assert.deepEqual(portsOf('--http-port'), ['7780', '7781'])
  })

  test('has a dashboard at ports that are free, or none', async () => {
    const portOf = async (line: string, used: readonly number[]): Promise<string | undefined> => {
      const made = new Dev()
      for (const port of used) made.dev.usedPorts.add(port)
      await made.run(line)
      const [{ args }] = made.dev.spawned as [FakeDevNode]
      const at = args.indexOf('--http-port')
      return at < 0 ? undefined : args[at + 1]
    }
    assert.equal(await portOf('', []), '7780')
    assert.equal(await portOf('', [7782]), '7789')
    assert.equal(await portOf('--port 7789', [7780]), '7798')
    assert.equal(await portOf('--resp-port 7779', []), '7789')
    const all = Array.from({ length: 100 }, (_, at) => 7780 + at)
    assert.equal(await portOf('', all), undefined)
    assert.equal(await portOf('--http-port none', []), undefined)
  })

  test('whose node cannot start tells why, and ends', async () => {
    const made = new Dev()
    await made.run()
    made.dev.running[0]!.log('opening the data')
    await made.settle()
    assert.doesNotMatch(made.text, /opening the data/)
    made.dev.running[0]!.exit('code 1')
    await made.settle()
    assert.match(made.text, /node 1 .*opening the data\nnode 1 has crashed \(code 1\)/)
    assert.equal(made.exitCode, 1)
    assert.equal(made.dev.spawned.length, 1)
  })
})

describe('nodes', () => {
  test('say what they say behind their name, log lines as people read them', async () => {
    const made = await Dev.serving()
    made.text = ''
    const error = { name: 'UnavailableError', code: 'KV_UNAVAILABLE', message: 'gone' }
    made.node(2).log('hints are on their way', { peer: 3, error })
    made.node(3).say('Segmentation fault')
    const fields = 'peer=3  error="KV_UNAVAILABLE gone"'
    const expected = `node 2 00:00:00.000 info  hints are on their way  ${fields}\n`
    assert.equal(made.text, `${expected}node 3 Segmentation fault\n`)
  })

  test('are called by their number once they have said which id they have', async () => {
    const made = await Dev.serving()
    const id = 'ab'.repeat(16)
    made.text = ''
    made.node(3).log('a member is up', { node: id })
    assert.match(made.text, /^node 3 .* a member is up {2}node=abababab\n$/)
    made.node(2).log('serving', { node: id })
    made.text = ''
    made.node(3).log('a member is down', { node: id, error: { message: `no link to ${id}` } })
    const named = /node="?abababab \(node 2\)"? {2}error="no link to abababab \(node 2\)"\n$/
    assert.match(made.text, named)
  })

  test('that crash are shown and not started again', async () => {
    const made = await Dev.serving()
    made.node(3).exit('SIGSEGV')
    await made.clock.advanceAsync(60_000)
    assert.match(made.text, /node 3 has crashed \(SIGSEGV\).*\n +npx kvcli dev start 3\n/)
    assert.equal(made.dev.spawned.length, 3)
    assert.equal(made.exitCode, undefined)
    assert.deepEqual(stateOf((await made.kvcli('status')).harness), [
      'running',
      'running',
      'crashed',
    ])
  })
})

describe('kvcli dev', () => {
  test('kills, pauses and starts nodes', async () => {
    const made = await Dev.serving()
    const paused = await made.kvcli('kill 1 --signal STOP')
    assert.deepEqual(stateOf(paused.harness), ['paused', 'running', 'running'])
    assert.deepEqual(made.node(1).signals, ['SIGSTOP'])
    const goesOn = await made.kvcli('kill 1 --signal CONT')
    assert.deepEqual(stateOf(goesOn.harness), ['running', 'running', 'running'])
    assert.equal((await made.kvcli('kill 2')).code, 0)
    assert.match(made.text, /kvcli: SIGKILL to node 2\nnode 2 was stopped \(SIGKILL\)/)
    const again = await made.kvcli('kill 2')
    assert.equal(again.code, 1)
    assert.match(said(again.harness), /node 2 does not run/)
    assert.deepEqual(stateOf((await made.kvcli('start 2')).harness), [
      'running',
      'starting',
      'running',
    ])
    made.node(2).serve()
    assert.match(said((await made.kvcli('start 2')).harness), /node 2 runs already/)
    assert.match(said((await made.kvcli('kill 7')).harness), /nodes 1 to 3/)
    assert.match(
      said((await made.kvcli('kill 1 --signal nonsense')).harness),
      /'nonsense' is no signal of this system: use KILL/,
    )
  })

  test('is told when nobody runs the cluster, and leaves nothing behind', async () => {
    const made = new Dev()
    const { code, harness } = await made.kvcli('status')
    assert.equal(code, 1)
    assert.match(said(harness), /no local cluster runs in/)
    assert.deepEqual([...made.dev.files.files.keys()], [])
    assert.equal(harness.clock.timerCount, 0)
    const serving = await Dev.serving()
    serving.dev.alive.clear()
    const dead = await serving.kvcli('status')
    assert.match(said(dead.harness), /no local cluster runs/)
    assert.equal(dead.harness.clock.timerCount, 0)
  })

  test('of an earlier run has no effect on the next', async () => {
    const files = new MemoryCliFiles()
    files.files.set(`${DIRECTORY}/control/ab.request`, Buffer.from('{"command":"kill","node":1}'))
    const made = await Dev.serving('', new FakeDevIo(files))
    await made.clock.advanceAsync(1000)
    assert.deepEqual(made.node(1).signals, [])
    files.files.set(`${DIRECTORY}/control/cd.request`, Buffer.from('no JSON'))
    await made.clock.advanceAsync(1000)
    assert.match(files.text(`${DIRECTORY}/control/cd.answer`) ?? '', /no request/)
  })

  for (const line of [
    'kil 1',
    'kill',
    'start x',
    'status 1',
    'start 1 --signal 9',
    'kill 1 --signal 77',
  ]) {
    test(`${line} is refused before anything is asked`, async () => {
      const harness = new CliHarness({ argv: `dev ${line}` })
      assert.equal(await harness.run(), 2)
    })
  }
})

describe('stopping', () => {
  test('one signal stops all nodes, also paused ones, and it ends when they are gone', async () => {
    const made = await Dev.serving()
    made.node(2).obeys = false
    await made.signal('SIGINT')
    const [one, two, three] = made.dev.spawned
    assert.deepEqual([one!.isGone, two!.isGone, three!.isGone], [true, false, true])
    assert.deepEqual(two!.signals, ['SIGTERM', 'SIGCONT'])
    await made.signal('SIGINT')
    assert.equal(made.exitCode, undefined, 'the signal that npm passed on is the same one')
    two!.exit('code 0')
    await made.settle()
    assert.equal(made.exitCode, 0)
    assert.equal(made.dev.files.text(`${DIRECTORY}/running.json`), undefined)
  })

  test('a second one kills those that are left', async () => {
    const made = await Dev.serving()
    made.node(2).obeys = false
    await made.signal('SIGTERM')
    await made.clock.advanceAsync(600)
    await made.signal('SIGTERM')
    assert.deepEqual(made.dev.spawned[1]!.signals.at(-1), 'SIGKILL')
    assert.equal(made.exitCode, 1)
  })

  test('under npm start it ends with npm, which passes on few signals', async () => {
    const made = new Dev()
    made.env = { npm_lifecycle_event: 'start' }
    await made.run()
    await made.clock.advanceAsync(5000)
    assert.equal(made.exitCode, undefined)
    made.parent = 2
    await made.clock.advanceAsync(500)
    assert.equal(made.exitCode, 0)
    assert.match(made.text, /the process that started this one is gone: stopping the nodes/)
  })

  test('while it starts stops what was started', async () => {
    const made = new Dev()
    await made.run()
    await made.signal('SIGTERM')
    assert.equal(made.exitCode, 0)
    assert.equal(made.dev.spawned.length, 1)
  })
})
