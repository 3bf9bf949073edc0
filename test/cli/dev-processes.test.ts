// Goal: `kvd dev` runs what it says: processes that form a cluster, keep every record while one of
// them is dead, hand it what it has missed, and are gone when it ends, whichever way it does.
// Method: the program itself on a real directory and real ports; nodes are killed through its own
// control, and read one by one, without a map, so that each answers from its own copy.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { after, test } from 'node:test'
import { askDev, type DevRequest } from '../../src/cli/dev-control.ts'
import { decodeRun, runningPath } from '../../src/cli/dev-layout.ts'
import { nodeCliFiles } from '../../src/cli/node-cli-files.ts'
import { isAlive } from '../../src/cli/node-process.ts'
import { delay, systemClock } from '../../src/clock.ts'
import { connect } from '../../src/index.ts'
import { connect as connectTo } from '../../src/net/index.ts'
import { programArguments } from '../support/kvd-process.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const clock = systemClock()
const files = nodeCliFiles()
/** Out of the way of the ports that a developer's own cluster has. */
const BASE_PORT = 21_000 + (process.pid % 200) * 200

class Dev {
  readonly child: ChildProcess
  readonly exited: Promise<string>
  readonly #directory: string
  #text = ''
  #isOver = false

  constructor(directory: string) {
    this.#directory = directory
    const options = ['--dir', directory, '--port', String(BASE_PORT), '--memory-budget', '16MiB']
    const program = programArguments('kvd', 'sources')
    const stdio = ['ignore', 'ignore', 'pipe'] as const
    this.child = spawn(process.execPath, [...program, 'dev', ...options], { stdio: [...stdio] })
    this.child.stderr!.on('data', chunk => {
      this.#text += String(chunk)
    })
    this.exited = new Promise(resolve => {
      this.child.once('close', (code, signal) => {
        this.#isOver = true
        resolve(signal ?? `code ${code}`)
      })
    })
  }

  /** Resolves once it has told what to type next. */
  static async serving(directory: string): Promise<Dev> {
    const dev = new Dev(directory)
    await until(() => {
      assert.equal(dev.#isOver, false, dev.#text)
      return /In another terminal/.test(dev.#text)
    })
    return dev
  }

  ask(request: DevRequest) {
    return askDev(this.#directory, request, { files, clock, isAlive, id: `t${process.pid}` })
  }

  async url(): Promise<string> {
    return decodeRun(await files.readText(runningPath(this.#directory)))!.url
  }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(clock, 50)
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
  const dev = await Dev.serving(directory)
  // Its nodes end with it, also where the test fails.
  t.after(() => dev.child.kill('SIGKILL'))
  const client = await connect(await dev.url())
  const put = (keys: readonly string[]) => Promise.all(keys.map(key => client.put(key, key)))
  await put(keysOf(0, 100))

  const killed = await dev.ask({ command: 'kill', node: 2 })
  assert.deepEqual(
    killed.map(({ state }) => state),
    ['running', 'stopped', 'running'],
  )
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

  const again = await Dev.serving(directory)
  t.after(() => again.child.kill('SIGKILL'))
  const nodes = await again.ask({ command: 'status' })
  for (const { address } of nodes) await untilHolds(address, keysOf(0, 200))
  again.child.kill('SIGKILL')
  await again.exited
  await until(() => nodes.every(({ pid }) => !isAlive(pid!)))
})
