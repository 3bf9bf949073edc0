/**
 * Looks after the cluster once all is repaired, as a person would: writes something through every
 * member, restarts one that says it must be, and looks at everything that each of them finds.
 */
import { utf8Decode } from '../../../src/bytes.ts'
import { KvError } from '../../../src/errors.ts'
import { Client, type ClientOptions } from '../../../src/net/index.ts'
import type { Random } from '../../../src/random.ts'
import type { History } from './history.ts'
import { MachineClock, trueWallMs } from './machine-clock.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimCluster } from './sim-cluster.ts'
import type { SimNetwork } from './sim-network.ts'
import type { SimNode } from './sim-node.ts'
import { SimProcess } from './sim-process.ts'
import { tapVersions } from './version-tap.ts'

const NAME = 'operator'
const PATIENCE_MS = 2000
/** A page with large values takes seconds on the slowest networks, and is sent on once. */
const SURVEY_PATIENCE_MS = 20_000

export interface OperatorOptions {
  readonly scheduler: Scheduler
  readonly network: SimNetwork
  readonly random: Random
  readonly history: History
  readonly cluster: SimCluster
}

/** What is left of a write at quorum that was acknowledged: another value, or nothing. */
export interface Lasting {
  readonly node: string
  readonly key: string
  readonly written: string | undefined
  readonly found: string | undefined
}

/** What a node finds in the whole cluster. */
export interface Survey {
  readonly entries: readonly (readonly [key: string, value: string])[]
  readonly count: number
  /** When it was looked, in milliseconds since the Unix epoch. */
  readonly fromMs: number
  readonly toMs: number
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
    const { members } = this.#options.cluster
    for (const node of members) if (!this.#proven.has(node)) await this.#try(node)
    return members.every(node => this.#proven.has(node))
  }

  describe(): string {
    return [...this.#complaints].map(([node, text]) => `${node.name}: ${text}`).join('; ')
  }

  /** All entries, and their number, as this node tells them. Rejects with what it answers. */
  async survey(node: SimNode): Promise<Survey> {
    const client = this.#client(node, { timeoutMs: SURVEY_PATIENCE_MS })
    const { scheduler } = this.#options
    const fromMs = trueWallMs(scheduler)
    try {
      const entries: [string, string][] = []
      for await (const [key, value] of client.entries()) {
        entries.push([utf8Decode(key), utf8Decode(value)])
      }
      const count = await client.count()
      return { entries, count, fromMs, toMs: trueWallMs(scheduler) }
    } finally {
      await client.close()
    }
  }

  /**
   * Overwrites one key after another, or deletes it, at quorum, by way of one member after another
   * that versions it itself, and reads it. What was acknowledged and does not last. Rejects with
   * what a node answers.
   */
  async overwrite(keys: readonly string[]): Promise<readonly Lasting[]> {
    const { members } = this.#options.cluster
    const lost: Lasting[] = []
    for (const [at, key] of keys.entries()) {
      const node = members[at % members.length]!
      const written = at % 3 === 2 ? undefined : `${NAME} at the end:${at}`
      const client = this.#client(node, { versions: 'server' })
      try {
        const terms = { consistency: 'quorum' } as const
        if (written === undefined) await client.delete(key, terms)
        else await client.put(key, written, terms)
        const bytes = await client.get(key, terms)
        const found = bytes === undefined ? undefined : utf8Decode(bytes)
        if (found !== written) lost.push({ node: node.name, key, written, found })
      } finally {
        await client.close()
      }
    }
    return lost
  }

  #client(
    node: SimNode,
    options: Pick<ClientOptions, 'timeoutMs' | 'versions'>,
    sent: (version: string) => void = () => undefined,
  ): Client {
    const { random, network, cluster } = this.#options
    const connector = network.connector(this.#process, NAME)
    return new Client({
      nodes: [cluster.clientAddress(node.name)],
      lazy: true,
      clock: this.#process.clock,
      random,
      connector: tapVersions(connector, (_key, _value, version) => sent(version)),
      timeoutMs: PATIENCE_MS,
      clientName: NAME,
      ...options,
    })
  }

  async #try(node: SimNode): Promise<void> {
    const { history } = this.#options
    const key = `written by way of ${node.name}`
    const value = history.nextValue(NAME, 0)
    const write = history.begin({ key, value, client: NAME, consistency: 'one' })
    const client = this.#client(node, {}, version => {
      write.version = version
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
