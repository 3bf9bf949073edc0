/**
 * The public entry of the package: one `open` for a directory and for a server, the API that both
 * share, and the errors. `duramen/engine`, `duramen/net` and `duramen/cluster` offer the rest.
 */
import { decodeRoutes } from './cluster/index.ts'
import { type Db, type DbOptions, open as openDirectory } from './engine/index.ts'
import { InvalidArgumentError } from './errors.ts'
import type { KeyValueStore } from './key-value-store.ts'
import { type Client, type ClientOptions, connect as connectAnywhere } from './net/index.ts'

/** What a client may be told besides where the servers are. */
export type ConnectOptions = Omit<ClientOptions, 'url' | 'nodes'>

/** What `open` opens: known from the text of the location, or what both kinds share. */
export type StoreAt<Location extends string> = Location extends `kv${'' | 's'}://${string}`
  ? Client
  : string extends Location
    ? KeyValueStore
    : Db

export type OpenOptions<Location extends string> = Location extends `kv${'' | 's'}://${string}`
  ? ConnectOptions
  : string extends Location
    ? DbOptions | ConnectOptions
    : DbOptions

/**
 * Connects to `kv://host:port[,host:port…]`, or as the options say, and sends each call to a node
 * that holds its key, by the ring that the servers tell. Resolves with the first connection;
 * rejects when no server can be reached, unless `lazy`.
 */
export function connect(
  target: string | ClientOptions,
  options: ClientOptions = {},
): Promise<Client> {
  if (typeof target === 'string') return connectAnywhere(target, { decodeRoutes, ...options })
  return connectAnywhere({ decodeRoutes, ...target })
}

const SCHEME = /^([a-z][a-z0-9+.-]+):\/\//i
/** `host:port`, also several, and kv: without slashes: a server is meant, and no directory. */
const ADDRESS = /^(?:kv:|(?:(?:\[[0-9a-f:.%]+\]|[\w.-]{2,}):\d{1,5})(?:,.*)?$)/i

/**
 * Opens the database in a directory (`open('./data')`), or connects to servers
 * (`open('kv://host:port,host:port')`). Both give the same API. Rejects with InvalidArgumentError
 * for `host:port` alone, which kvcli takes, as it is a path as well. For a path that is computed,
 * `open` of `duramen/engine` gives the embedded database with all that only it can do.
 */
export async function open<const Location extends string>(
  location: Location,
  options?: OpenOptions<Location>,
): Promise<StoreAt<Location>> {
  // What is no text is no URL either: the engine says what is wrong with it.
  const scheme = typeof location === 'string' ? SCHEME.exec(location)?.[1] : undefined
  if (scheme !== undefined && scheme !== 'kv' && scheme !== 'kvs') {
    throw new InvalidArgumentError(
      `cannot open '${location}': give the path of a directory, or kv://host:port`,
    )
  }
  if (scheme === undefined && typeof location === 'string' && ADDRESS.test(location)) {
    const address = location.replace(/^kv:/i, '')
    throw new InvalidArgumentError(
      `'${location}' looks like the address of a server: did you mean kv://${address}? ` +
        `(a directory of that name is ./${location})`,
    )
  }
  // The conditional types say for each location what the branches do; the compiler cannot follow.
  const store =
    scheme !== undefined
      ? await connect({ ...(options as ConnectOptions | undefined), url: location })
      : await openDirectory(location, options as DbOptions | undefined)
  return store as StoreAt<Location>
}

export type {
  Db,
  DbOptions,
  DbStats,
  DeleteRangeOperation,
  EmbeddedOperation,
} from './engine/index.ts'
export {
  AbortedError,
  AuthenticationError,
  ChangesGoneError,
  ClockSkewError,
  ClosedError,
  type CorruptionDetail,
  CorruptionError,
  InternalError,
  InvalidArgumentError,
  IoError,
  isRetryable,
  KvError,
  type KvErrorAction,
  type KvErrorCode,
  LockedError,
  NotFoundError,
  OverloadedError,
  PermissionError,
  PoisonedError,
  ProtocolError,
  TimeoutError,
  UnavailableError,
  VersionMismatchError,
  type WriteOutcome,
} from './errors.ts'
export {
  BATCH_SIZE_MAX,
  type BatchOperation,
  type BytesInput,
  type CallOptions,
  type Consistency,
  type Durability,
  type Entry,
  KEY_SIZE_MAX,
  type KeyRange,
  type KeyValueStore,
  type PutOptions,
  type ReadOptions,
  type Scan,
  type ScanOptions,
  type Snapshot,
  VALUE_SIZE_MAX,
  type WriteOptions,
} from './key-value-store.ts'
export { jsonLogger, type Logger, type LogLevel, silentLogger } from './logger.ts'
export { Client, type ClientOptions } from './net/index.ts'
