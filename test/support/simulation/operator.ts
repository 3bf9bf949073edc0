/**
 * Looks after the cluster once all is repaired, as a person would: writes something through every
 * node, and restarts a node that says it must be.
 */
import { KvError } from '../../../src/errors.ts'
import { Client } from '../../../src/net/index.ts'
import type { Random } from '../../../src/random.ts'
import type { History } from './history.ts'
import { MachineClock } from './machine-clock.ts'
import type { Scheduler } from './scheduler.ts'
import { CLIENT_PORT, type SimCluster } from './sim-cluster.ts'
import type { SimNetwork } from './sim-network.ts'
import type { SimNode } from './sim-node.ts'
import { SimProcess } from './sim-process.ts'
import { tapVersions } from './version-tap.ts'

const NAME = 'operator'
const PATIENCE_MS = 2000

export interface OperatorOptions {
  readonly scheduler: Scheduler
  readonly network: SimNetwork
  readonly random: Random
  readonly history: History
  readonly cluster: SimCluster
}

export class Operator {
  readonly #options: OperatorOptions
  readonly #process: SimProcess
  readonly #proven = new Set<SimNode>()
  /** What the last attempt at each node came to. */
  readonly #complaints = new Map<SimNode, string>()

  constructor(options: OperatorOptions) {
    this.#options = options
    const { scheduler } = options
    this.#process = new SimProcess(NAME, scheduler, new MachineClock(scheduler, 0, 0))
  }

  /** True once every node has taken a write. Tries those that have not. */
  async allTakeWrites(): Promise<boolean> {
    const { nodes } = this.#options.cluster
    for (const node of nodes) if (!this.#proven.has(node)) await this.#try(node)
    return this.#proven.size === nodes.length
  }

  describe(): string {
    return [...this.#complaints].map(([node, text]) => `${node.name}: ${text}`).join('; ')
  }

  async #try(node: SimNode): Promise<void> {
    const { history, random } = this.#options
    const key = `written by way of ${node.name}`
    const value = history.nextValue(NAME, 0)
    const write = history.begin({ key, value, client: NAME, consistency: 'one' })
    const connector = this.#options.network.connector(this.#process, NAME)
    const client = new Client({
      nodes: [{ host: node.name, port: CLIENT_PORT }],
      lazy: true,
      clock: this.#process.clock,
      random,
      connector: tapVersions(connector, (_key, _value, version) => {
        write.version = version
      }),
      timeoutMs: PATIENCE_MS,
      clientName: NAME,
    })
    try {
      await client.put(key, value)
      history.end([write], 'ok')
      this.#proven.add(node)
      this.#complaints.delete(node)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      history.end([write], error.outcome)
      this.#complaints.set(node, `${error.code} ${error.message}`)
      if (error.code === 'KV_POISONED') await node.stop()
    } finally {
      await client.close()
    }
  }
}
