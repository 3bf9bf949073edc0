/** A cluster that is put under load and broken: of kvd, or of Redis for comparison. */
import type { ChaosClient } from './load.ts'

/** A replica's own copy of a key; `elsewhere` when it is not to have one. */
export type Copy = { readonly value: string | undefined } | 'elsewhere'

export interface ChaosSubject {
  readonly name: string
  readonly nodeCount: number
  /** Starts all nodes; resolves when they are one cluster that serves. */
  start(): Promise<void>
  connect(): Promise<ChaosClient>
  /** kill -9; resolves when the process is gone. */
  kill(node: number): Promise<void>
  /** Resolves as soon as the process was started. */
  restart(node: number): Promise<void>
  pause(node: number): void
  resume(node: number): void
  /** Cuts the nodes off from all others, both ways; undefined where that cannot be done. */
  readonly cut: ((nodes: readonly number[]) => Promise<void>) | undefined
  heal(): Promise<void>
  /** True when every node serves and thinks the cluster whole. */
  isWhole(): Promise<boolean>
  /** Bytes of writes that nodes owe each other; undefined when the subject does not tell. */
  owedBytes(): Promise<number | undefined>
  /** What the node itself has of each key. */
  copies(node: number, keys: readonly string[]): Promise<readonly Copy[]>
  /** Deletes so many keys behind the back of the node, which is down; undefined: cannot. */
  readonly damage: ((node: number, count: number) => Promise<number>) | undefined
  stop(): Promise<void>
}
