/**
 * A Redis Cluster for comparison: three masters with a replica each, every write fsynced before it
 * is answered (`appendfsync always`), everything else as Redis has it. Node n is the n-th process.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { delay, systemClock } from '../../../src/clock.ts'
import type { ChaosClient } from './load.ts'
import { ProcessCpu } from './process-cpu.ts'
import { RedisClusterClient, RedisConnection, RedisError, type RedisReply } from './redis-client.ts'
import type { ChaosSubject, Copy } from './subject.ts'

const run = promisify(execFile)
const NODE_COUNT = 6
const POLL_MS = 100
const START_MS_MAX = 60_000
const ANSWER_MS = 2000

export interface RedisOptions {
  readonly directory: string
  readonly port: number
  readonly timeoutMs: number
}

export class RedisCluster implements ChaosSubject {
  readonly name = 'redis'
  readonly nodeCount = NODE_COUNT
  readonly network = undefined
  readonly damage = undefined
  readonly #options: RedisOptions
  readonly #children: (ChildProcess | undefined)[] = []
  readonly #cpu = new ProcessCpu()

  constructor(options: RedisOptions) {
    this.#options = options
  }

  #port(node: number): number {
    return this.#options.port + node - 1
  }

  get #ports(): number[] {
    return Array.from({ length: NODE_COUNT }, (_, index) => this.#port(index + 1))
  }

  #spawn(node: number): void {
    const directory = join(this.#options.directory, `redis-${node}`)
    mkdirSync(directory, { recursive: true })
    const settings = [
      ...['--port', String(this.#port(node)), '--bind', '127.0.0.1', '--dir', directory],
      ...['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'],
      ...['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''],
    ]
    this.#children[node] = spawn('redis-server', settings, { stdio: 'ignore' })
  }

  async start(): Promise<void> {
    for (let node = 1; node <= NODE_COUNT; node++) this.#spawn(node)
    await this.#until('answer', async () => {
      const replies = await Promise.all(this.#ports.map(port => ask(port, 'PING')))
      return replies.every(reply => reply === 'PONG')
    })
    const addresses = this.#ports.map(port => `127.0.0.1:${port}`)
    const options = ['--cluster-replicas', '1', '--cluster-yes']
    await run('redis-cli', ['--cluster', 'create', ...addresses, ...options])
    await this.#until('form a cluster', () => this.isWhole())
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const clock = systemClock()
    const endMs = clock.monotonicMs() + START_MS_MAX
    while (!(await condition())) {
      if (clock.monotonicMs() > endMs) throw new Error(`the Redis servers do not ${what}`)
      await delay(clock, POLL_MS)
    }
  }

  connect(): Promise<ChaosClient> {
    return Promise.resolve(new RedisClusterClient(this.#ports, this.#options.timeoutMs))
  }

  async kill(node: number): Promise<void> {
    const child = this.#children[node]
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    this.#cpu.look(child)
    const gone = new Promise(resolve => child.once('close', resolve))
    child.kill('SIGKILL')
    await gone
  }

  restart(node: number): Promise<void> {
    this.#spawn(node)
    return Promise.resolve()
  }

  pause(node: number): void {
    this.#children[node]?.kill('SIGSTOP')
  }

  resume(node: number): void {
    this.#children[node]?.kill('SIGCONT')
  }

  /** Masters: a replica is missed by nobody. */
  async victims(): Promise<readonly number[]> {
    const masters: number[] = []
    for (let node = 1; node <= NODE_COUNT; node++) {
      const role = await ask(this.#port(node), 'INFO', 'replication')
      if (typeof role === 'string' && role.includes('role:master')) masters.push(node)
    }
    return masters
  }

  cpuMs(): number {
    return this.#cpu.total(this.#children)
  }

  /** Every node says that the cluster is well, and every replica is linked to its master. */
  async isWhole(): Promise<boolean> {
    let masters = 0
    for (const port of this.#ports) {
      const state = await ask(port, 'CLUSTER', 'INFO')
      if (typeof state !== 'string' || !state.includes('cluster_state:ok')) return false
      const role = await ask(port, 'INFO', 'replication')
      if (typeof role !== 'string') return false
      if (role.includes('role:master')) masters++
      else if (!role.includes('master_link_status:up')) return false
    }
    return masters === NODE_COUNT / 2
  }

  owed(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  /** Masters and replicas alike have whole slots; what a node has none of is elsewhere. */
  async copies(node: number, keys: readonly string[]): Promise<readonly Copy[]> {
    const connection = new RedisConnection(this.#port(node))
    await connection.call('READONLY')
    const replies = await Promise.all(keys.map(key => connection.call('GET', key)))
    connection.fail(new Error('done'))
    return replies.map(reply => {
      if (reply instanceof RedisError) return 'elsewhere'
      return { value: typeof reply === 'string' ? reply : undefined }
    })
  }

  async stop(): Promise<void> {
    for (let node = 1; node <= NODE_COUNT; node++) await this.kill(node)
  }
}

/** Undefined when there is no answer. */
async function ask(port: number, ...words: string[]): Promise<RedisReply | undefined> {
  const connection = new RedisConnection(port)
  const cancel = systemClock().setTimer(ANSWER_MS, () => connection.fail(new Error('late')))
  try {
    return await connection.call(...words)
  } catch (error) {
    if (error instanceof Error) return undefined
    throw error
  } finally {
    cancel()
    connection.fail(new Error('done'))
  }
}
