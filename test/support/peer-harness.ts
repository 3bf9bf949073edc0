/**
 * Nodes with nothing but their links to each other, over simulated wires and on a SimClock: for
 * tests of whatever talks through Peers.
 *
 *   const peers = await startPeers(3, { handle: (links, index) => links.handle(kind, …) })
 *   await peers.links[0]!.request(peers.ids[1]!, 'data', kind, body, 1000)     // see `settle`
 *
 * Time stands still unless the test moves it: `clock.advanceAsync`, or `settle(promise)`,
 * which moves it until the promise has settled.
 */
import type { Boot } from '../../src/cluster/peer-hello.ts'
import type { PeerLimits } from '../../src/cluster/peer-limits.ts'
import { PeerLinks } from '../../src/cluster/peer-links.ts'
import type { NodeId } from '../../src/cluster/ring-member.ts'
import type { KvError } from '../../src/errors.ts'
import { type LogFields, type Logger, silentLogger } from '../../src/logger.ts'
import { seededRandom } from '../../src/random.ts'
import { SharedSecret } from '../../src/secret.ts'
import { SimClock } from './sim-clock.ts'
import { SimWires } from './sim-wires.ts'

export const TEST_CLUSTER = 'c1'.repeat(16)
export const TEST_SECRET = new Uint8Array(32).fill(7)
const PEER_PORT = 7701

export interface PeerHarnessOptions {
  readonly seed?: number
  readonly limits?: Partial<PeerLimits>
  /** Milliseconds that a chunk takes. @defaultValue 1 */
  readonly latencyMs?: () => number
  /** Of each direction of a link. @defaultValue without a limit */
  readonly bytesPerSecond?: number
  /** Registers the handlers of a node, before its links start. */
  readonly handle?: (links: PeerLinks, index: number) => void
  /** The epoch of a node's ring. @defaultValue 1 */
  readonly epoch?: (index: number) => number
  /** Plants a bug into how the secret is checked. */
  readonly secretOf?: (secret: Uint8Array) => SharedSecret
  /** False: nobody is a member of anybody until the test says so. @defaultValue true */
  readonly linked?: boolean
}

/** What one node is started with besides what the harness gives it. */
export interface PeerStart {
  readonly nodeId?: NodeId
  readonly host?: string
  readonly boot?: Boot
  readonly secret?: Uint8Array
  readonly clusterId?: string
}

export class PeerHarness {
  readonly clock = new SimClock()
  readonly wires: SimWires
  readonly links: PeerLinks[] = []
  readonly ids: NodeId[] = []
  readonly hosts: string[] = []
  /** Why each node was fenced, if it was. */
  readonly fenced: (KvError | undefined)[] = []
  /** Lines of all nodes: `index level message`. */
  readonly log: string[] = []
  readonly #options: PeerHarnessOptions

  constructor(options: PeerHarnessOptions = {}) {
    this.#options = options
    this.wires = new SimWires(this.clock, options)
  }

  addressOf(index: number): string {
    return `${this.hosts[index]}:${PEER_PORT}`
  }

  /** Starts one more node, which knows nobody yet; returns its index. */
  async start(start: PeerStart = {}): Promise<number> {
    const index = this.links.length
    const { seed = 1, limits = {}, handle, epoch = () => 1, secretOf } = this.#options
    const random = seededRandom(seed * 1000 + index)
    const self = start.nodeId ?? nodeIdOf(index)
    const host = start.host ?? `10.0.0.${index + 1}`
    this.ids.push(self)
    this.hosts.push(host)
    this.fenced.push(undefined)
    const links = new PeerLinks({
      self,
      boot: start.boot ?? { generation: 1, nonce: nonceOf(index) },
      secret: (secretOf ?? sharedSecret)(start.secret ?? TEST_SECRET),
      clock: this.clock,
      random,
      entropy: length => random.bytes(length),
      logger: this.#loggerOf(index),
      connector: this.wires.connector(host),
      acceptor: this.wires.acceptor(host),
      limits,
      clusterId: () => start.clusterId ?? TEST_CLUSTER,
      epoch: () => epoch(index),
      address: () => this.addressOf(index),
      fenced: error => {
        this.fenced[index] = error
      },
    })
    this.links.push(links)
    handle?.(links, index)
    const policy = { allowInsecureRemote: true, asksForPassword: true }
    await links.listen({ host, port: PEER_PORT }, policy)
    return index
  }

  /** Makes all nodes so far members for each other. */
  introduce(removed: readonly NodeId[] = []): void {
    const members = this.ids.map((nodeId, index) => ({
      nodeId,
      peerAddress: this.addressOf(index),
    }))
    const present = members.filter(({ nodeId }) => !removed.includes(nodeId))
    for (const links of this.links) links.setMembers(present, removed)
  }

  /** True when everybody is linked to everybody else. */
  get isComplete(): boolean {
    return this.links.every((links, from) =>
      this.ids.every((id, to) => from === to || links.isLinked(id)),
    )
  }

  /** Moves time until the condition holds; throws after `limitMs`. */
  async until(condition: () => boolean, what: string, limitMs = 60_000): Promise<void> {
    const endMs = this.clock.monotonicMs() + limitMs
    while (!condition()) {
      if (this.clock.monotonicMs() >= endMs) throw new Error(`not within ${limitMs} ms: ${what}`)
      await this.clock.advanceAsync(1, 1)
    }
  }

  /** Moves time until the promise has settled, and gives what it gives. */
  async settle<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let isSettled = false
    const settled = (): void => {
      isSettled = true
    }
    promise.then(settled, settled)
    await this.until(() => isSettled, 'the promise settled', limitMs)
    return promise
  }

  async close(): Promise<void> {
    await this.settle(Promise.all(this.links.map(links => links.close())))
  }

  #loggerOf(index: number): Logger {
    const at =
      (level: string) =>
      (message: string, fields?: LogFields): void => {
        const error = fields?.['error']
        const why = error instanceof Error ? error.message : (fields?.['why'] ?? '')
        this.log.push(`${index} ${level} ${message} ${String(why)}`)
      }
    return { ...silentLogger, info: at('info'), warn: at('warn'), error: at('error') }
  }
}

/** `count` nodes that are linked to each other, three lanes each. */
export async function startPeers(
  count: number,
  options: PeerHarnessOptions = {},
): Promise<PeerHarness> {
  const harness = new PeerHarness(options)
  for (let index = 0; index < count; index++) await harness.start()
  if (options.linked === false) return harness
  harness.introduce()
  await harness.until(() => harness.isComplete, 'all nodes are linked')
  // The other lanes follow within the same round trips.
  await harness.clock.advanceAsync(20)
  return harness
}

function sharedSecret(secret: Uint8Array): SharedSecret {
  return new SharedSecret(secret)
}

/** The id of the node with this index, unless it is started with another. */
export function nodeIdOf(index: number): NodeId {
  return (index + 1).toString(16).padStart(2, '0').repeat(16)
}

/** Sixteen bytes in hexadecimal. */
export function nonceOf(index: number): string {
  return (0xa0 + index).toString(16).repeat(16)
}

/** That of a further try of one directory. */
export function nonceOfTry(tries: number): string {
  return 'ee'.repeat(8) + tries.toString(16).padStart(8, '0') + '00'.repeat(4)
}
