/** A cluster of real `kvd` processes, on loopback ports or in a network that can be cut. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { delay, systemClock } from '../../../src/clock.ts'
import { decodeRoutes } from '../../../src/cluster/index.ts'
import { open } from '../../../src/engine/index.ts'
import { KvError } from '../../../src/errors.ts'
import type { Consistency } from '../../../src/key-value-store.ts'
import { type Client, connect, type Routes } from '../../../src/net/index.ts'
import { secureBytes, systemRandom } from '../../../src/random.ts'
import { programArguments } from '../kvd-process.ts'
import { formedRecords } from '../simulation/formed-disk.ts'
import type { ChaosClient } from './load.ts'
import type { NetworkLab } from './network-lab.ts'
import { ProbeProcess } from './probe-process.ts'
import { ProcessCpu } from './process-cpu.ts'
import type { ChaosSubject, Copy, CuttableNetwork, Owed, Probe } from './subject.ts'

const PASSWORD = 'chaos'
const OUTPUT_KEPT = 4000
const POLL_MS = 50
const START_MS_MAX = 60_000
const PARTITION_COUNT = 1024
const REPLICATION_FACTOR = 3
const COPIES_AT_ONCE = 1000
/** Below the partitions' keys and above them lie the node's own records. */
const OWN_PREFIX = 0xff

export interface DuramenOptions {
  readonly directory: string
  readonly nodeCount: number
  /** The first of the ports for clients; those for nodes are 100 above. */
  readonly port: number
  readonly network: NetworkLab | undefined
  readonly timeoutMs: number
  readonly arguments: readonly string[]
}

interface Process {
  readonly child: ChildProcess
  readonly gone: Promise<void>
  output: string
}

export class DuramenCluster implements ChaosSubject {
  readonly name = 'duramen'
  readonly nodeCount: number
  readonly #options: DuramenOptions
  readonly #processes: (Process | undefined)[] = []
  readonly #direct: (Client | undefined)[] = []
  readonly #cpu = new ProcessCpu()
  readonly #probes = new ProbeProcess()
  #routes: Routes | undefined

  constructor(options: DuramenOptions) {
    this.#options = options
    this.nodeCount = options.nodeCount
    mkdirSync(options.directory, { recursive: true })
    const secret = Buffer.from(secureBytes(32)).toString('hex')
    writeFileSync(this.#secretFile, `${secret}\n`, { mode: 0o600 })
  }

  get #secretFile(): string {
    return join(this.#options.directory, 'secret')
  }

  #host(node: number): string {
    return this.#options.network?.host(node) ?? '127.0.0.1'
  }

  #port(node: number): number {
    return this.#options.port + node - 1
  }

  #directory(node: number): string {
    return join(this.#options.directory, `node-${node}`)
  }

  #spawn(node: number, further: readonly string[]): void {
    const { network } = this.#options
    const host = this.#host(node)
    const port = this.#port(node)
    const words = [
      ...(network?.command(node) ?? []),
      ...[process.execPath, ...programArguments('kvd', 'dist'), 'serve'],
      ...['--dir', this.#directory(node), '--host', host, '--port', String(port)],
      ...['--peer-host', host, '--peer-port', String(port + 100)],
      ...['--cluster-secret-file', this.#secretFile, '--json-logs'],
      ...(network === undefined ? [] : ['--allow-insecure-remote']),
      ...further,
      ...this.#options.arguments,
    ]
    const [program = '', ...args] = words
    const password = network === undefined ? {} : { DURAMEN_PASSWORD: PASSWORD }
    const env = { ...process.env, ...password, DURAMEN_STOP_WITH_PARENT: '1' }
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
    const gone = new Promise<void>(resolve => child.once('close', () => resolve()))
    const started: Process = { child, gone, output: '' }
    child.stderr.on('data', chunk => {
      started.output = `${started.output}${chunk}`.slice(-OUTPUT_KEPT)
    })
    this.#processes[node] = started
  }

  async start(): Promise<void> {
    const nodes = Array.from({ length: this.nodeCount }, (_, index) => index + 1)
    await this.#form(nodes)
    for (const node of nodes) this.#spawn(node, [])
    for (const node of nodes) await this.#answers(node)
    const clock = systemClock()
    const endMs = clock.monotonicMs() + START_MS_MAX
    while (!(await this.isWhole())) {
      if (clock.monotonicMs() > endMs) throw new Error(`no cluster was formed: ${this.#outputs()}`)
      await delay(clock, POLL_MS)
    }
  }

  /** Makes the directories of nodes that are one cluster already. */
  async #form(nodes: readonly number[]): Promise<void> {
    const plan = {
      ...{ partitionCount: PARTITION_COUNT, replicationFactor: REPLICATION_FACTOR },
      nodes: nodes.map(node => ({
        clientAddress: `${this.#host(node)}:${this.#port(node)}`,
        peerAddress: `${this.#host(node)}:${this.#port(node) + 100}`,
      })),
    }
    for (const [index, records] of formedRecords(plan, systemRandom()).entries()) {
      const db = await open(this.#directory(index + 1))
      await db.batch(records.map(record => ({ type: 'put', ...record }) as const))
      await db.close()
    }
  }

  #outputs(): string {
    return this.#processes.map(each => each?.output ?? '').join('\n')
  }

  async #answers(node: number): Promise<void> {
    const clock = systemClock()
    const endMs = clock.monotonicMs() + START_MS_MAX
    for (;;) {
      const { child, output } = this.#processes[node]!
      const isOver = child.exitCode !== null || child.signalCode !== null
      if (isOver || clock.monotonicMs() > endMs) {
        throw new Error(`node ${node} does not serve: ${output}`)
      }
      if ((await this.#stats(node)) !== undefined) return
      await delay(clock, POLL_MS)
    }
  }

  #credentials(): { password: string } | object {
    return this.#options.network === undefined ? {} : { password: PASSWORD }
  }

  async connect(): Promise<ChaosClient> {
    const { timeoutMs } = this.#options
    const numbers = Array.from({ length: this.nodeCount }, (_, index) => index + 1)
    const addresses = numbers.map(node => `${this.#host(node)}:${this.#port(node)}`)
    const client = await connect(`kv://${addresses.join(',')}`, {
      ...{ timeoutMs, decodeRoutes, clientName: 'chaos' },
      ...this.#credentials(),
    })
    return {
      get: async key => textOf(await client.get(key)),
      put: (key, value) => client.put(key, value),
      close: () => client.close(),
    }
  }

  /** A client of one node alone, which asks no other; undefined when it cannot be reached. */
  async #directTo(node: number): Promise<Client | undefined> {
    const known = this.#direct[node]
    if (known !== undefined) return known
    try {
      const client = await connect(`kv://${this.#host(node)}:${this.#port(node)}`, {
        ...{ timeoutMs: 10_000, connectTimeoutMs: 2000, clientName: 'chaos-check' },
        ...this.#credentials(),
      })
      this.#direct[node] = client
      return client
    } catch (error) {
      if (error instanceof KvError) return undefined
      throw error
    }
  }

  async #stats(node: number): Promise<Figures | undefined> {
    try {
      const client = await this.#directTo(node)
      return (await client?.stats({ timeoutMs: 2000 })) as Figures | undefined
    } catch (error) {
      if (error instanceof KvError) return undefined
      throw error
    }
  }

  victims(): Promise<readonly number[]> {
    return Promise.resolve(Array.from({ length: this.nodeCount }, (_, index) => index + 1))
  }

  cpuMs(): number {
    return this.#cpu.total(this.#processes.map(each => each?.child))
  }

  async kill(node: number): Promise<void> {
    this.#cpu.look(this.#processes[node]!.child)
    this.#signal(node, 'SIGKILL')
    await this.#processes[node]!.gone
    const client = this.#direct[node]
    this.#direct[node] = undefined
    await client?.close()
  }

  restart(node: number): Promise<void> {
    this.#spawn(node, [])
    return Promise.resolve()
  }

  pause(node: number): void {
    this.#signal(node, 'SIGSTOP')
  }

  resume(node: number): void {
    this.#signal(node, 'SIGCONT')
  }

  /** `ip netns exec` becomes the program that it runs, so the child is the node itself. */
  #signal(node: number, signal: NodeJS.Signals): void {
    this.#processes[node]?.child.kill(signal)
  }

  get network(): CuttableNetwork | undefined {
    const { network } = this.#options
    if (network === undefined) return undefined
    return {
      cut: nodes => network.cut(nodes),
      heal: () => network.heal(),
      replicas: async key => {
        const routes = await this.#knownRoutes()
        return (await this.victims()).filter(node => this.#isOwner(routes, node, key))
      },
      probe: (node, kind, key, consistency) => this.#probe(node, kind, key, consistency),
    }
  }

  #probe(
    node: number,
    kind: 'read' | 'write',
    key: string,
    consistency: Consistency,
  ): Promise<Probe> {
    const url = `kv://${this.#host(node)}:${this.#port(node)}`
    const password = this.#options.network === undefined ? undefined : PASSWORD
    return this.#probes.ask({ url, password, kind, key, consistency })
  }

  async isWhole(): Promise<boolean> {
    // All at once: one after the other, the waits of a busy time would add up.
    const all = await Promise.all((await this.victims()).map(node => this.#stats(node)))
    return all.every(stats => {
      const ring = stats?.node?.ring
      return ring?.members === this.nodeCount && ring.phase === 'stable'
    })
  }

  async owed(): Promise<Owed | undefined> {
    let hints = 0
    let pending = 0
    for (let node = 1; node <= this.nodeCount; node++) {
      const peers = (await this.#stats(node))?.cluster?.writes.peers
      // It does not answer, so nothing is known of what it owes.
      if (peers === undefined) return { hintBytes: Number.NaN, pendingBytes: Number.NaN }
      for (const { hintBytes, pendingBytes } of Object.values(peers)) {
        hints += hintBytes
        pending += pendingBytes
      }
    }
    return { hintBytes: hints, pendingBytes: pending }
  }

  async #knownRoutes(): Promise<Routes> {
    if (this.#routes === undefined) {
      const client = await this.#directTo(1)
      if (client === undefined) throw new Error('node 1 cannot be reached')
      this.#routes = decodeRoutes(await client.ringMap(), 'node 1')
    }
    return this.#routes
  }

  async copies(node: number, keys: readonly string[]): Promise<readonly Copy[]> {
    const routes = await this.#knownRoutes()
    const client = await this.#directTo(node)
    if (client === undefined) throw new Error(`node ${node} cannot be reached`)
    const own = keys.filter(key => this.#isOwner(routes, node, key))
    const values = new Map<string, string | undefined>()
    for (let at = 0; at < own.length; at += COPIES_AT_ONCE) {
      const some = own.slice(at, at + COPIES_AT_ONCE)
      const found = await client.getMany(some, { consistency: 'one' })
      for (const [index, key] of some.entries()) values.set(key, textOf(found[index]))
    }
    return keys.map(key => (values.has(key) ? { value: values.get(key) } : 'elsewhere'))
  }

  #isOwner(routes: Routes, node: number, key: string): boolean {
    const partition = routes.partitionOf(Buffer.from(key))
    for (let place = 0; place < routes.width; place++) {
      const { address } = routes.members[routes.memberAt(partition, place)]!
      if (address?.host === this.#host(node) && address.port === this.#port(node)) return true
    }
    return false
  }

  readonly damage = async (node: number, count: number): Promise<number> => {
    const db = await open(this.#directory(node), { createIfMissing: false })
    try {
      let deleted = 0
      const scan = db.keys()
      while (deleted < count) {
        const keys = await scan.nextBatch(Math.min(1000, count - deleted))
        if (keys.length === 0) break
        const users = keys.filter(
          key => key.length > 2 && !(key[0] === OWN_PREFIX && key[1] === OWN_PREFIX),
        )
        await db.batch(users.map(key => ({ type: 'del', key }) as const))
        deleted += users.length
      }
      await scan.close()
      return deleted
    } finally {
      await db.close()
    }
  }

  async stop(): Promise<void> {
    this.#probes.stop()
    for (const client of this.#direct) await client?.close()
    for (const each of this.#processes) {
      each?.child.kill('SIGKILL')
      await each?.gone
    }
  }
}

/** What is looked at of a node's statistics. */
interface Figures {
  readonly node?: { readonly ring?: { readonly members: number; readonly phase: string } }
  readonly cluster?: { readonly writes: { readonly peers: Readonly<Record<string, Owed>> } }
}

function textOf(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value).toString()
}
