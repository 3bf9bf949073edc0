/**
 * What kvcli needs of the SDK's client: the store, and what only a server can tell. The client of
 * src/net satisfies it; tests bring a store in memory.
 */
import type { CallOptions, Consistency, KeyRange, KeyValueStore } from '../key-value-store.ts'
import type { ClientTls } from '../net/index.ts'

export interface RemoteStore extends KeyValueStore {
  /** Resolves when a server has answered. */
  ping(options?: CallOptions): Promise<unknown>
  /** Keys in the range, exactly, counted by the server. */
  count(range?: KeyRange, options?: CallOptions): Promise<number>
  stats(options?: CallOptions): Promise<Readonly<Record<string, unknown>>>
  /** The ring that the server goes by, as the cluster layer encodes it. */
  ringMap(options?: CallOptions): Promise<Uint8Array>
  /** Asks a server about itself, or to do something: `command` has a name under `command`. */
  admin(
    command: Readonly<Record<string, unknown>>,
    options?: CallOptions,
  ): Promise<Readonly<Record<string, unknown>>>
}

export interface ConnectOptions {
  /** Without a password. */
  readonly url: string
  readonly password: string | undefined
  /** What a server of a kvs:// url is held against; undefined leaves it to the system. */
  readonly tls?: ClientTls | undefined
  /** Of calls that name none; undefined leaves it to the server. */
  readonly consistency?: Consistency | undefined
  /** Milliseconds that a call may take; undefined leaves it to the client. */
  readonly timeoutMs: number | undefined
  /** True: resolves at once and connects in the background, again and again. */
  readonly lazy: boolean
  /** True: goes to the servers of `url` alone, not to others of their cluster. */
  readonly alone?: boolean
  /** Told when the connection is made or lost, or was tried in vain, and why. */
  readonly onConnection?: ((connected: boolean, why?: string) => void) | undefined
}

export type Connect = (options: ConnectOptions) => Promise<RemoteStore>
