/** One node, or a cluster of them, on free ports of this machine: processes, and what they say. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { builtPath, loadNet, type StatsClient } from '../built.ts'
import { freePort, HOST, type ServerPlan, ServerProcess } from '../server/server-process.ts'

const SECRET = 'a secret of the benchmark, for nodes on one machine'
const POLL_MS = 50
const LINK_MS_MAX = 30_000
const DRAIN_MS_MAX = 60_000

/** What is used here of a node's statistics. */
interface NodeFigures {
  readonly links?: { readonly linked: number; readonly bytesSent: number }
  readonly cluster?: {
    readonly writes: { readonly peers: Readonly<Record<string, PeerFigures>> }
  }
}

interface PeerFigures {
  readonly pendingBytes: number
  readonly hintCount: number
}

/** Counters of all nodes together. */
export interface Counters {
  /** Processor time; undefined where the system does not tell. */
  readonly cpuMs: number | undefined
  /** Sent on links between nodes. */
  readonly bytesSent: number
}

function planOf(index: number, others: readonly string[]): ServerPlan {
  return {
    name: `node-${index + 1}`,
    driver: 'duramen',
    settings: "kvd serve with its defaults: durability 'sync'",
    command: process.execPath,
    args: (port, directory) => [
      builtPath('cli', 'kvd.cjs'),
      'serve',
      ...['--host', HOST, '--port', String(port), '--dir', join(directory, 'data')],
      ...others,
    ],
  }
}

export class Nodes {
  readonly #servers: readonly ServerProcess[]
  readonly #clients: readonly StatsClient[]

  private constructor(servers: readonly ServerProcess[], clients: readonly StatsClient[]) {
    this.#servers = servers
    this.#clients = clients
  }

  /** Resolves once all nodes serve and know each other. One alone has no links at all. */
  static async start(count: number, parent: string): Promise<Nodes> {
    mkdirSync(parent, { recursive: true })
    const secretPath = join(parent, 'secret')
    writeFileSync(secretPath, SECRET)
    const servers: ServerProcess[] = []
    const clients: StatsClient[] = []
    try {
      const { connect } = await loadNet()
      let first = ''
      for (let index = 0; index < count; index++) {
        const peerPort = await freePort()
        const role = index === 0 ? ['--init'] : ['--join', first]
        if (index === 0) first = `${HOST}:${peerPort}`
        const links = ['--peer-port', String(peerPort), '--cluster-secret-file', secretPath]
        const server = await ServerProcess.start(
          planOf(index, count === 1 ? [] : [...role, ...links]),
          parent,
        )
        servers.push(server)
        clients.push(await connect(`kv://${HOST}:${server.port}`))
      }
      const nodes = new Nodes(servers, clients)
      await nodes.#linked(count - 1)
      return nodes
    } catch (error) {
      for (const client of clients) await client.close()
      for (const server of servers) await server.stop()
      throw error
    }
  }

  get url(): string {
    return `kv://${this.#servers.map(({ port }) => `${HOST}:${port}`).join(',')}`
  }

  get count(): number {
    return this.#servers.length
  }

  async counters(): Promise<Counters> {
    const figures = await this.#figures()
    const times = this.#servers.map(server => server.cpuMs())
    const isKnown = times.every(time => time !== undefined)
    return {
      cpuMs: isKnown ? times.reduce((sum, time) => sum + time, 0) : undefined,
      bytesSent: figures.reduce((sum, { links }) => sum + (links?.bytesSent ?? 0), 0),
    }
  }

  /** Resolves once every replica has every write. Throws when that takes too long. */
  async drained(): Promise<void> {
    for (let waitedMs = 0; waitedMs < DRAIN_MS_MAX; waitedMs += POLL_MS) {
      const figures = await this.#figures()
      const peers = figures.flatMap(({ cluster }) => Object.values(cluster?.writes.peers ?? {}))
      if (peers.every(peer => peer.pendingBytes === 0 && peer.hintCount === 0)) return
      await sleep(POLL_MS)
    }
    throw new Error(`replicas lack writes after ${DRAIN_MS_MAX / 1000} s`)
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) await client.close()
    await Promise.all(this.#servers.map(server => server.stop()))
  }

  async #linked(others: number): Promise<void> {
    for (let waitedMs = 0; waitedMs < LINK_MS_MAX; waitedMs += POLL_MS) {
      const figures = await this.#figures()
      if (figures.every(({ links }) => (links?.linked ?? 0) === others)) return
      await sleep(POLL_MS)
    }
    throw new Error('the nodes do not find each other')
  }

  /** Each client knows one node only, and no ring that would lead it to others. */
  #figures(): Promise<NodeFigures[]> {
    return Promise.all(this.#clients.map(async client => (await client.stats()) as NodeFigures))
  }
}
