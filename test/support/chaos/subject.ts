/** A cluster that is put under load and broken: of kvd, or of Redis for comparison. */
import type { Consistency } from '../../../src/key-value-store.ts'
import type { ChaosClient } from './load.ts'

/** A replica's own copy of a key; `elsewhere` when it is not to have one. */
export type Copy = { readonly value: string | undefined } | 'elsewhere'

/** What a node owes to another one, in bytes. */
export interface Owed {
  /** Of hints: what it could not be sent in time. */
  readonly hintBytes: number
  /** On its way. */
  readonly pendingBytes: number
}

/** How a single call on one node went. */
export interface Probe {
  /** Undefined when it succeeded. */
  readonly error: string | undefined
  readonly tookMs: number
}

export interface ChaosSubject {
  readonly name: string
  readonly nodeCount: number
  /** Starts all nodes; resolves when they are one cluster that serves. */
  start(): Promise<void>
  connect(): Promise<ChaosClient>
  /** Nodes that take writes now: those that are worth killing. */
  victims(): Promise<readonly number[]>
  /** kill -9; resolves when the process is gone. */
  kill(node: number): Promise<void>
  /** Resolves as soon as the process was started. */
  restart(node: number): Promise<void>
  pause(node: number): void
  resume(node: number): void
  /** Undefined where that cannot be done. */
  readonly network: CuttableNetwork | undefined
  /** True when every node serves and thinks the cluster whole. */
  isWhole(): Promise<boolean>
  /** What nodes owe to each other, all in all; undefined when the subject does not tell. */
  owed(): Promise<Owed | undefined>
  /** What the node itself has of each key. */
  copies(node: number, keys: readonly string[]): Promise<readonly Copy[]>
  /** Deletes so many keys behind the back of the node, which is down; undefined: cannot. */
  readonly damage: ((node: number, count: number) => Promise<number>) | undefined
  /** Milliseconds of processor time that all its processes have taken so far. */
  cpuMs(): number
  stop(): Promise<void>
}

export interface CuttableNetwork {
  /** Cuts the nodes off from all others, both ways; clients reach all. */
  cut(nodes: readonly number[]): Promise<void>
  heal(): Promise<void>
  /** The nodes that are to have the key. */
  replicas(key: string): Promise<readonly number[]>
  /** A call on this node alone, which is not repeated. */
  probe(node: number, kind: 'read' | 'write', key: string, consistency: Consistency): Promise<Probe>
}
