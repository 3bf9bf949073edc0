/** What a user may set on a node. What belongs to the engine or the server is passed on to it. */
import type { Clock } from '../clock.ts'
import type { Db, DbTuning, Executor, FileSystem } from '../engine/index.ts'
import type { Hasher } from '../hash.ts'
import type { Durability } from '../key-value-store.ts'
import type { Logger } from '../logger.ts'
import type {
  Acceptor,
  Connector,
  Credentials,
  ServerLimits,
  ServerTls,
  Users,
} from '../net/index.ts'
import type { Random } from '../random.ts'
import type { PeerLimits } from './peer-limits.ts'
import type { PeerLinksOptions } from './peer-links.ts'
import type { Peers } from './peers.ts'
import type { ReplicationLog } from './replication.ts'
import type { Store } from './store.ts'

export interface NodeOptions {
  /** Holds everything the node keeps, its identity included. Made when missing. */
  readonly directory: string

  /** @defaultValue '127.0.0.1' */
  readonly host?: string

  /** 0 lets the system choose. @defaultValue DEFAULT_PORT of the protocol */
  readonly port?: number

  /**
   * Listens on addresses that other machines reach, although nothing is encrypted, the password
   * included. Takes a password. @defaultValue false
   */
  readonly allowInsecureRemote?: boolean

  /** With a password, whoever knows it is served, in everything. @defaultValue everybody is */
  readonly credentials?: Credentials

  /**
   * With users, these are served, too, each with what it is allowed. All nodes of a cluster should
   * have the same. @defaultValue none
   */
  readonly users?: Users | undefined

  /**
   * With it, all doors and the links of nodes speak TLS; nodes show each other certificates of its
   * `ca`. What it is of can change while the node serves. @defaultValue plain TCP
   */
  readonly tls?: ServerTls | undefined

  /**
   * What an acknowledged write has survived, unless the request says otherwise.
   *
   * @defaultValue 'sync'
   */
  readonly durability?: Durability

  /**
   * Milliseconds between fsyncs at durability `'interval'`: the most that a power loss can cost.
   *
   * @defaultValue 100
   */
  readonly syncIntervalMs?: number

  /**
   * Bytes of memory for memtables, cached blocks, filters and indices together. Buffers of
   * connections and scans come on top; their limits are in `limits` and scan-memory.ts.
   *
   * @defaultValue 256 MiB
   */
  readonly memoryBudget?: number

  /** Compactions that may run at once, each on a thread of its own. @defaultValue 1 */
  readonly compactionThreads?: number

  /**
   * A second directory, on another disk, for the tables of the last level, nine tenths of the data;
   * null brings them back. See DbOptions of the engine.
   *
   * @defaultValue as it was
   */
  readonly coldDirectory?: string | null

  /** How the engine stores data blocks. @defaultValue 'none' */
  readonly compression?: 'none' | 'deflate' | 'zstd'

  /**
   * Parts of the hash space: a power of two up to 65,536. Fixed when the directory is made; an
   * ordered scan pays one seek for each, a cluster spreads data no finer than this.
   *
   * @defaultValue what the directory has, 1024 for a new one
   */
  readonly partitionCount?: number

  /**
   * Nodes that hold each key. Fixed when the cluster is made, and that is when this counts.
   *
   * @defaultValue what the cluster has, 3 for a new one
   */
  readonly replicationFactor?: number

  /**
   * Tokens of a node of weight 1. Fixed when the cluster is made, and that is when this counts.
   *
   * @defaultValue what the cluster has, 128 for a new one
   */
  readonly virtualNodes?: number

  /** Where Redis clients reach it, too, under the same rules as `host`. @defaultValue nowhere */
  readonly resp?: DoorOptions

  /** Where HTTP clients reach it, too, under the same rules as `host`. @defaultValue nowhere */
  readonly http?: DoorOptions

  /** Makes it a node that others may be linked with. @defaultValue it stands alone */
  readonly cluster?: ClusterOptions

  /** What one client may do; see the server's limits.ts. */
  readonly limits?: Partial<ServerLimits>

  /** Shown to clients. @defaultValue '' */
  readonly version?: string

  /** @defaultValue silent */
  readonly logger?: Logger
}

/** A further door, beside that of the binary protocol. */
export interface DoorOptions {
  /** @defaultValue '127.0.0.1' */
  readonly host?: string
  /** 0 lets the system choose. */
  readonly port: number
}

/** How a node is linked with the other nodes of its cluster. */
export interface ClusterOptions {
  /** What all nodes of the cluster know and nobody else: at least 16 bytes. Text as UTF-8. */
  readonly secret: Uint8Array | string

  /**
   * Where it listens for other nodes. Other addresses than those of this machine take
   * `allowInsecureRemote`, as for clients. @defaultValue '127.0.0.1'
   */
  readonly peerHost?: string

  /** 0 lets the system choose. @defaultValue PEER_PORT_DEFAULT */
  readonly peerPort?: number

  /**
   * `host:port` at which others reach it, where that is not where it listens.
   *
   * @defaultValue where it listens; nothing when that is every address of the machine
   */
  readonly peerAddress?: string

  /**
   * Begins a cluster on an empty directory, for others to join; one that has a cluster keeps it.
   *
   * @defaultValue false: without `join` an empty directory is refused, for the node that was there
   * may be a member that lost its data, and must never become a second cluster at its address
   */
  readonly init?: boolean

  /**
   * Peer addresses, `host:port`, of nodes of the cluster that it belongs to. A node on an empty
   * directory becomes a member of that cluster, which takes that nobody has written to it yet, and
   * waits until it is; for one that is a member they are a first contact, should all have moved.
   *
   * @defaultValue none: an empty directory takes `init`
   */
  readonly join?: readonly string[]

  /**
   * What fails together with the node: letters, digits, `_`, `.` and `-`. Replicas of a key are in
   * as many racks as there are. Fixed when the node becomes a member.
   *
   * @defaultValue what it has, for a new member none: all without one count as one rack
   */
  readonly rack?: string

  /**
   * How much of the data it takes, in relation to others: 1 to 64. Fixed when the node becomes a
   * member.
   *
   * @defaultValue what it has, 1 for a new member
   */
  readonly weight?: number

  /**
   * Its clock is right when it starts, whatever others say: it takes writes though it reaches no
   * other member, as where the start waits for a time server. What a clock that is ahead writes
   * wins until that time comes.
   *
   * @defaultValue false: after a start another member has to agree with its clock before it takes
   * writes, unless the clock is at most an hour past the node's last write
   */
  readonly trustClock?: boolean

  /** Ends a start that waits for a cluster to take the node in. @defaultValue it waits for ever */
  readonly signal?: AbortSignal

  /** How much links hold and how long they wait; see peer-limits.ts. */
  readonly peerLimits?: Partial<PeerLimits>
}

export const PEER_PORT_DEFAULT = 7701
export const CLUSTER_SECRET_SIZE_MIN = 16

/** The outside world, replaced by tests. */
export interface NodeEnvironment {
  readonly clock: Clock
  readonly random: Random
  /** Unpredictable bytes, for identities. */
  readonly entropy: (length: number) => Uint8Array
  /** Where the data is. Comes together with `executor`. @defaultValue the disk */
  readonly fileSystem?: FileSystem | undefined
  /** What runs the engine's jobs; closed together with it. @defaultValue threads */
  readonly executor?: Executor | undefined
  /** Shared by many nodes on one thread. @defaultValue one of its own */
  readonly hasher?: Hasher | undefined
  /** Sizes of the engine. @defaultValue its own */
  readonly tuning?: DbTuning | undefined
  /** How other nodes are reached. */
  readonly connector: Connector
  /** How clients and other nodes reach this one. */
  readonly acceptor: Acceptor
  /** @defaultValue the parts themselves */
  readonly seams?: NodeSeams | undefined
}

/**
 * What stands between the parts of a node instead of the parts themselves: bugs, and limits
 * that are met soon, in tests.
 */
export interface NodeSeams {
  readonly store?: (db: Db) => Store
  readonly log?: (db: Db) => ReplicationLog
  /** What the links to other nodes are made with. */
  readonly links?: (options: PeerLinksOptions) => PeerLinksOptions
  /** Of reads, writes and repair. */
  readonly peers?: (peers: Peers) => Peers
  /** Of what decides on rings and tells them. */
  readonly ringPeers?: (peers: Peers) => Peers
  /** Bytes of hints for one peer. @defaultValue HINT_BYTES_MAX */
  readonly hintBytesMax?: number
}
