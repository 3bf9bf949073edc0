/**
 * The front doors of a node: the binary protocol, and where it is wanted that of Redis clients. All
 * call the same handler, share limits and group commits, and know nothing of what stands behind.
 */
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import {
  type Acceptor,
  type CloseOptions,
  type ListenAddress,
  type ListenOptions,
  type RequestHandler,
  RespDoor,
  Server,
  type ServerStatsSnapshot,
} from '../net/index.ts'
import type { Random } from '../random.ts'
import type { NodeOptions } from './options.ts'

export interface FrontDoorParts {
  readonly handler: RequestHandler
  readonly acceptor: Acceptor
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly nodeId: string
  /** The time that versions are held against. */
  readonly timeMs: () => number
}

export class FrontDoors {
  readonly server: Server
  readonly #resp: Server | undefined
  readonly #options: NodeOptions

  constructor(options: NodeOptions, parts: FrontDoorParts) {
    const { limits = {}, version: serverVersion = '', credentials = {} } = options
    const { allowInsecureRemote = false } = options
    const common = { ...parts, limits, serverVersion, allowInsecureRemote, credentials }
    this.#options = options
    this.server = new Server(common)
    if (options.resp === undefined) return
    const protocol = new RespDoor(parts.random)
    this.#resp = new Server({ ...common, protocol, sharesWith: this.server })
  }

  get respAddress(): ListenAddress | undefined {
    return this.#resp?.address
  }

  /** Resolves with the address of the binary protocol once all doors accept connections. */
  async listen(): Promise<ListenAddress> {
    await this.#resp?.listen(this.#options.resp)
    return await this.server.listen(listenOptions(this.#options))
  }

  stats(): Readonly<Record<string, ServerStatsSnapshot>> {
    const resp = this.#resp
    return { net: this.server.stats(), ...(resp === undefined ? {} : { resp: resp.stats() }) }
  }

  /** Lets clients finish. Idempotent. */
  async close(options?: CloseOptions): Promise<void> {
    await Promise.all([this.server.close(options), this.#resp?.close(options)])
  }
}

export function listenOptions({ host, port }: NodeOptions): ListenOptions {
  return { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) }
}
