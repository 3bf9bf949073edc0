/** Bugs of replication that tests plant, to see that they would be found. */
import { compareBytes } from '../../src/bytes.ts'
import { type PeerHandler, PeerMessage, type Peers } from '../../src/cluster/peers.ts'
import type { ReplicationLog } from '../../src/cluster/replication.ts'
import type { NodeId } from '../../src/cluster/ring-member.ts'
import type { RingTable } from '../../src/cluster/ring-table.ts'
import type { Store, StoreOperation, StoreRange } from '../../src/cluster/store.ts'
import type { Db } from '../../src/engine/index.ts'

/**
 * `hintNotDurable`: hints are in memory only. `dutyForgotten`: a restart reads nothing of the log.
 * `wrongOwner`: hints go to whom they were for, whatever the ring says, and are taken by anybody.
 * `staleEpoch`: a replica takes what a sender with an older ring sends.
 */
export type WritePlant = 'hintNotDurable' | 'dutyForgotten' | 'wrongOwner' | 'staleEpoch'

/** The engine, but records of hints are gone after a restart. */
export function withoutHints(db: Db): Store {
  let hints: Uint8Array[] = []
  const isHint = (key: Uint8Array) => key[0] === 0xff && key[1] === 0xff
  const note = ({ type, key }: StoreOperation): void => {
    hints = hints.filter(other => compareBytes(other, key) !== 0)
    if (type === 'put') hints = [...hints, key.slice()].sort(compareBytes)
  }
  return {
    read: (key, snapshot) => db.read(key, snapshot),
    readRange: range =>
      isHint(range.lt ?? new Uint8Array(2)) ? page(hints, range) : db.readRange(range),
    leap: read => db.leap(read),
    write(operations, options) {
      for (const operation of operations) if (isHint(operation.key)) note(operation)
      const rest = operations.filter(({ key }) => !isHint(key))
      return rest.length === 0 ? Promise.resolve() : db.write(rest, options)
    },
    prepareWrite: (putCount, logData) => db.prepareWrite(putCount, logData),
    snapshot: () => db.snapshot(),
    compact: range => db.compact(range),
  }
}

function page(hints: readonly Uint8Array[], { gt, gte, lt, countMax }: StoreRange) {
  const found = hints.filter(key => {
    if (gt !== undefined && compareBytes(key, gt) <= 0) return false
    if (gte !== undefined && compareBytes(key, gte) < 0) return false
    return lt === undefined || compareBytes(key, lt) < 0
  })
  return { keys: found.slice(0, countMax), values: [], done: found.length <= countMax }
}

/** The log, but it has nothing to say after a restart. */
export function forgetful(db: Db): ReplicationLog {
  return {
    get sequence() {
      return db.sequence
    },
    openingHold: db.openingHold,
    holdWal: sequence => db.holdWal(sequence),
    async *changes() {},
  }
}

/** Makes the node an owner of everything, as far as this ring says. */
export function ownEverything(table: RingTable, node: NodeId): RingTable {
  const isOwner = table.isOwner.bind(table)
  table.isOwner = (partition, other) => other === node || isOwner(partition, other)
  return table
}

/** Lets everything that comes to a replica say that it goes by the epoch of the replica. */
export function takeEveryEpoch<T extends Peers>(peers: T, epoch: () => number): T {
  const handle = peers.handle.bind(peers)
  peers.handle = (kind: number, handler: PeerHandler): void =>
    handle(kind, (body, context) => {
      if (kind === PeerMessage.replicate) {
        new DataView(body.buffer, body.byteOffset).setUint32(0, epoch(), true)
      }
      return handler(body, context)
    })
  return peers
}
