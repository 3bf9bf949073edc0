/** Finding out who is at an address, before there is any other link to it. */
import type { Clock } from '../clock.ts'
import { ClosedError, type KvError, TimeoutError } from '../errors.ts'
import type { Connector } from '../net/index.ts'
import { DialledLink } from './dialled-link.ts'
import { parsePeerAddress } from './peer-address.ts'
import type { Hello } from './peer-hello.ts'
import type { PeerLinkContext } from './peer-link-context.ts'
import type { PeerNode } from './peer-node.ts'

export class PeerMeetings {
  readonly #context: PeerLinkContext
  readonly #clock: Clock
  readonly #connector: Connector
  /** Links by which somebody is being met. */
  readonly #links = new Set<DialledLink>()
  /** Who waits for all lanes of a node. */
  readonly #awaited = new Map<PeerNode, () => void>()

  constructor(context: PeerLinkContext, connector: Connector) {
    this.#context = context
    this.#clock = context.clock
    this.#connector = connector
  }

  /** Resolves to what the node at the address says of itself, proven; rejects with why not. */
  greet(address: string): Promise<Hello> {
    const place = { connector: this.#connector, address: parsePeerAddress(address) }
    const dialling = { ...place, lane: 'urgent', expected: undefined } as const
    return new Promise((resolve, reject) => {
      const link = new DialledLink(this.#context, dialling, {
        opened: (_link, peer) => {
          resolve(peer)
          link.destroy(new ClosedError('the nodes have met'))
        },
        closed: (_link, { error }) => {
          this.#links.delete(link)
          reject(error)
        },
      })
      this.#links.add(link)
    })
  }

  /** Resolves once all lanes of the node are open; rejects with TimeoutError. */
  untilComplete(node: PeerNode): Promise<void> {
    const timeoutMs = 2 * this.#context.limits.handshakeTimeoutMs
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.setTimer(timeoutMs, () => {
        this.#awaited.delete(node)
        reject(new TimeoutError(`node ${node.nodeId} was met, but not linked to in time`))
      })
      const wake = this.#awaited.get(node)
      this.#awaited.set(node, () => {
        cancel()
        wake?.()
        resolve()
      })
    })
  }

  /** All lanes of the node are open. */
  completed(node: PeerNode): void {
    const wake = this.#awaited.get(node)
    this.#awaited.delete(node)
    wake?.()
  }

  sweep(nowMs: number): void {
    for (const link of this.#links) link.sweep(nowMs)
  }

  forgive(ms: number): void {
    for (const link of this.#links) link.forgive(ms)
  }

  stop(error: KvError): void {
    for (const link of this.#links) link.destroy(error)
  }
}
