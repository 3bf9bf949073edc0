/**
 * The commands that a node answers about itself (ADMIN on the client's wire): JSON in, JSON out.
 *
 *   trace  { key: base64 }         what each replica has of the key (key-trace.ts)
 *   repair { action: start|status } full rounds of anti-entropy, of all members (repair-runs.ts)
 *   hints  {}                      what members owe each other (hint-reports.ts)
 *   status {}                      how the cluster and its members are (cluster-status.ts)
 *   changes { prefix: base64, … }   what was written of late (change-watches.ts)
 *   slowlog { count }              the operations of this node that took long, of all doors
 *   abort  {}                      takes back the join that is under way (ring-change.ts)
 */
import { InvalidArgumentError } from '../errors.ts'
import type { AdminNeeds, SlowPage } from '../net/index.ts'
import { prefixRange } from '../prefix-range.ts'
import { type ChangeWatches, watchedPrefix } from './change-watches.ts'
import type { ClusterStatus } from './cluster-status.ts'
import type { HintReport, HintReports } from './hint-reports.ts'
import { traceKey } from './key-trace.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import type { Peers } from './peers.ts'
import type { RepairRuns } from './repair-runs.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { Ring } from './ring.ts'
import type { NodeId } from './ring-member.ts'

/** A trace waits no longer for a replica, whatever the deadline. */
const TRACE_MS_MAX = 5000

export interface AdminOptions {
  /** The last operations of this node that took long. Absent: nobody keeps them. */
  readonly slow?: ((countMax: number) => SlowPage) | undefined
  /** Absent: nobody can watch. */
  readonly changes?: ChangeWatches | undefined
  readonly store: PartitionedStore
  readonly self: NodeId
  /** From what all members say that they owe. Absent: nobody knows. */
  readonly status?: ((hints: readonly HintReport[]) => ClusterStatus) | undefined
  /** Absent: the node stands alone. */
  readonly cluster?:
    | {
        readonly peers: Peers
        readonly sets: CurrentReplicaSets
        readonly repairs: RepairRuns
        readonly hints?: HintReports
        /** Takes back the change of the ring that is under way; resolves to the ring then. */
        readonly abort?: (() => Promise<Ring>) | undefined
      }
    | undefined
}

/** Of a node alone, whose hints are none. */
const NO_HINTS: readonly HintReport[] = []

export type AdminCommand = Readonly<Record<string, unknown>>

/** Rejects with InvalidArgumentError for a command that it does not know. */
export async function runAdmin(
  options: AdminOptions,
  command: AdminCommand,
  deadlineMs: number,
): Promise<Readonly<Record<string, unknown>>> {
  switch (command['command']) {
    case 'trace': {
      const leftMs = deadlineMs - options.store.clock.monotonicMs()
      // Something must be left for the way back.
      const timeoutMs = Math.max(1, Math.min(TRACE_MS_MAX, leftMs * 0.8))
      return { ...(await traceKey(options, keyOf(command), timeoutMs)) }
    }
    case 'repair': {
      const { cluster } = options
      if (cluster === undefined)
        throw new InvalidArgumentError('a node alone has nothing to repair')
      return { members: await cluster.repairs.all(command['action'] === 'start') }
    }
    // A node alone owes nobody anything.
    case 'hints':
      return { members: (await options.cluster?.hints?.all()) ?? NO_HINTS }
    case 'status': {
      const { status } = options
      if (status === undefined) throw new InvalidArgumentError('this server knows no cluster')
      return { ...status((await options.cluster?.hints?.all()) ?? NO_HINTS) }
    }
    case 'slowlog': {
      const { count } = command
      if (options.slow === undefined)
        throw new InvalidArgumentError('this server keeps no slow log')
      if (typeof count !== 'number' || !Number.isInteger(count) || count < 0) {
        throw new InvalidArgumentError("the command 'slowlog' has a 'count', a whole number from 0")
      }
      return { node: options.self, ...options.slow(count) }
    }
    case 'changes': {
      const { changes } = options
      if (changes === undefined) throw new InvalidArgumentError('this server tells no changes')
      return { ...(await changes.read(command, deadlineMs)) }
    }
    case 'abort': {
      if (options.cluster?.abort === undefined) {
        throw new InvalidArgumentError('a node alone has no change of its ring under way')
      }
      const { epoch } = await options.cluster.abort()
      return { epoch }
    }
    default:
      throw new InvalidArgumentError(`this server knows no command '${String(command['command'])}'`)
  }
}

/** What a user must be allowed for it: what only looks takes less than what changes something. */
export function adminNeeds(command: AdminCommand): AdminNeeds {
  switch (command['command']) {
    case 'trace':
      return { permission: 'monitor', key: keyOf(command) }
    case 'status':
    case 'hints':
      return { permission: 'monitor' }
    case 'changes':
      return { permission: 'read', range: prefixRange(watchedPrefix(command)) }
    case 'repair':
      return { permission: command['action'] === 'start' ? 'admin' : 'monitor' }
    default:
      return { permission: 'admin' }
  }
}

function keyOf({ key }: AdminCommand): Uint8Array {
  if (typeof key === 'string' && key !== '') return new Uint8Array(Buffer.from(key, 'base64'))
  throw new InvalidArgumentError("a trace has a 'key', as base64")
}
