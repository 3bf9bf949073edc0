/**
 * What each replica has of a key, and how long it took to say so: for people who wonder why a read
 * shows what it shows. Reads nothing but the key, and repairs nothing.
 */
import { KvError } from '../errors.ts'
import { versionCounter, versionTimeMs } from '../write-version.ts'
import { localForm } from './local-replica.ts'
import { enginePartition, engineUserKey } from './partition.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { decodeForms, digestOfStored, encodeKeys, type ReplicaForm } from './read-messages.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'
import { checkStored, expiryMs, isTombstone, liveValue } from './versioned-value.ts'

export interface TraceOptions {
  readonly store: PartitionedStore
  /** Absent: the node stands alone. */
  readonly cluster?: { readonly peers: Peers; readonly sets: CurrentReplicaSets } | undefined
  readonly self: NodeId
}

/** JSON-serialisable; times in milliseconds since the Unix epoch, 0 for never. */
export interface ReplicaTrace {
  readonly node: NodeId
  readonly state: 'value' | 'expired' | 'deleted' | 'absent' | 'damaged' | 'failed'
  readonly tookMs: number
  readonly version?: { readonly timeMs: number; readonly counter: number; readonly writer: string }
  readonly expiryMs?: number
  /** Bytes of the value. */
  readonly size?: number
  /** Of the whole stored form: replicas that hold the same have the same. */
  readonly hash?: string
  readonly error?: string
}

export interface KeyTrace {
  readonly partition: number
  readonly epoch: number
  /** True when all replicas have answered, and hold the same. */
  readonly agreed: boolean
  readonly replicas: readonly ReplicaTrace[]
}

/** Asks every owner of the key, those of a change under way included. */
export async function traceKey(
  { store, cluster, self }: TraceOptions,
  key: Uint8Array,
  timeoutMs: number,
): Promise<KeyTrace> {
  const { clock } = store
  const engineKey = store.partitioner.engineKey(key)
  const partition = enginePartition(engineKey)
  const table = cluster?.sets.current.table
  const members = table?.ring.members.map(({ nodeId }) => nodeId) ?? [self]
  const owners = members.filter(node => table?.isOwner(partition, node) ?? true)
  const epoch = table?.ring.epoch ?? 1
  const read = async (node: NodeId): Promise<ReplicaForm> => {
    if (cluster === undefined || node === self) return await localForm(store, engineKey)
    const body = encodeKeys({ epoch, keys: [engineUserKey(engineKey)] })
    const { readStored } = PeerMessage
    const answer = await cluster.peers.request(node, 'data', readStored, body, timeoutMs)
    return decodeForms(answer, 1)[0]!
  }
  const replicas = await Promise.all(
    owners.map(async (node): Promise<ReplicaTrace> => {
      const beganMs = clock.monotonicMs()
      try {
        const form = await read(node)
        const tookMs = roundTime(clock.monotonicMs() - beganMs)
        return { node, tookMs, ...describe(form, clock.wallMs()) }
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        const tookMs = roundTime(clock.monotonicMs() - beganMs)
        return { node, tookMs, state: 'failed', error: error.message }
      }
    }),
  )
  const [first] = replicas
  const agreed = replicas.every(({ state, hash }) => {
    return state !== 'failed' && state !== 'damaged' && hash === first?.hash
  })
  return { partition, epoch, agreed, replicas }
}

type Description = Omit<ReplicaTrace, 'node' | 'tookMs'>

function describe(form: ReplicaForm, nowMs: number): Description {
  if (form.state !== 'found') return { state: form.state }
  const { stored } = form
  checkStored(stored)
  const { version, hash } = digestOfStored(stored)
  const value = liveValue(stored, nowMs)
  const common = {
    version: {
      timeMs: versionTimeMs(version),
      counter: versionCounter(version),
      writer: Buffer.from(version.subarray(8)).toString('hex'),
    },
    expiryMs: expiryMs(stored),
    hash: hash.toString(16).padStart(8, '0'),
  }
  if (value !== undefined) return { state: 'value', ...common, size: value.length }
  return { state: isTombstone(stored) ? 'deleted' : 'expired', ...common }
}

function roundTime(ms: number): number {
  return Number(ms.toFixed(3))
}
