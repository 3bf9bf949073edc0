/**
 * Listens between a node and its engine to what is stored under the keys of users, and to what it
 * passes on to owners of them: so the version of a write is known that a client left to the nodes,
 * stored or not, and it shows at once when a node stores an earlier version over a later one.
 */
import { copyBytes, utf8Decode } from '../../../src/bytes.ts'
import { PeerMessage, type Peers } from '../../../src/cluster/peers.ts'
import { decodeForward } from '../../../src/cluster/replica-message.ts'
import type { Store, StoreOperation } from '../../../src/cluster/store.ts'
import type { Db } from '../../../src/engine/index.ts'
import { timeOf } from './check-times.ts'
import { describeWrite, type History, type Write } from './history.ts'
import { recordOf, type StoredRecord, userKeyOf } from './replica-state.ts'
import type { Plant } from './sim-node.ts'
import type { Violations } from './violations.ts'

export interface StoreTapOptions {
  readonly history: History
  readonly violations: Violations
  /** True time, in milliseconds since the Unix epoch. */
  readonly nowMs: () => number
}

/** As a plant: the last one, so that it sees what a planted bug stores. */
export function storeTap(options: StoreTapOptions): Plant {
  return ({ options: given, environment }, node) => {
    const { seams } = environment
    const store = (db: Db): Store => tapped(seams?.store?.(db) ?? db, node, options)
    const peers = (inner: Peers): Peers => forwardsTapped(seams?.peers?.(inner) ?? inner, options)
    return { options: given, environment: { ...environment, seams: { ...seams, store, peers } } }
  }
}

function forwardsTapped(inner: Peers, { history }: StoreTapOptions): Peers {
  return {
    self: inner.self,
    handle: (kind, handler) => inner.handle(kind, handler),
    send: (peer, lane, kind, body) => inner.send(peer, lane, kind, body),
    request: (peer, lane, kind, body, timeoutMs) => {
      if (kind === PeerMessage.forwardWrite) passedOn(body, history)
      return inner.request(peer, lane, kind, body, timeoutMs)
    },
    isLinked: peer => inner.isLinked(peer),
    onLink: listener => inner.onLink(listener),
    isAnswering: peer => inner.isAnswering(peer),
    onAnswering: listener => inner.onAnswering(listener),
    backlogBytes: (peer, lane) => inner.backlogBytes(peer, lane),
    isReceivingLarge: (peer, lane) => inner.isReceivingLarge(peer, lane),
  }
}

/** The last version under which it was passed on: one that was refused is nobody's. */
function passedOn(body: Uint8Array, history: History): void {
  for (const { stored } of decodeForward(body).entries) {
    const { value, version } = recordOf(stored)
    const write = value === undefined ? undefined : history.writeOf(value)
    if (write?.isVersionedByNode === true && write.isStored !== true) write.version = version
  }
}

function tapped(inner: Store, node: string, options: StoreTapOptions): Store {
  /** Of this life, by user key. */
  const versions = new Map<string, string>()
  const watched = (operations: readonly StoreOperation[], write: () => Promise<void>) => {
    const seen = operations.flatMap(operation => see(node, operation, versions, options) ?? [])
    const written = write()
    // What was refused is not there to be overtaken.
    written.catch(() => {
      for (const [key, version] of seen) if (versions.get(key) === version) versions.delete(key)
    })
    return written
  }
  return {
    read: (key, snapshot) => inner.read(key, snapshot),
    readRange: range => inner.readRange(range),
    leap: read => inner.leap(read),
    write: (operations, given) => watched(operations, () => inner.write(operations, given)),
    prepareWrite: (count, logData) => {
      const prepared = inner.prepareWrite(count, logData)
      const operations: StoreOperation[] = []
      return {
        put(key, value, expiryMs) {
          operations.push({ type: 'put', key: copyBytes(key), value: copyBytes(value), expiryMs })
          prepared.put(key, value, expiryMs)
        },
        commit: given => watched(operations, () => prepared.commit(given)),
      }
    },
    snapshot: () => inner.snapshot(),
    compact: range => inner.compact(range),
  }
}

function see(
  node: string,
  operation: StoreOperation,
  versions: Map<string, string>,
  options: StoreTapOptions,
): readonly [readonly [key: string, version: string]] | undefined {
  const { history, violations } = options
  const userKey = userKeyOf(operation.key)
  if (userKey === undefined) return undefined
  const key = utf8Decode(userKey)
  if (operation.type === 'del') {
    versions.delete(key)
    return undefined
  }
  const record = recordOf(operation.value)
  const before = versions.get(key)
  if (before !== undefined && record.version < before) {
    const what = `${node} stores ${key} of version ${record.version} over ${before}`
    violations.add('versions of a key do not go back', what)
  }
  versions.set(key, record.version)
  history.stored(key, record.value === undefined ? record.version : undefined)
  learn(key, record, options)
  return [[key, record.version]]
}

/** Of a write that is stored for the first time: its version, and how far that is ahead. */
function learn(
  key: string,
  { value, version }: StoredRecord,
  { history, violations, nowMs }: StoreTapOptions,
): void {
  const write = value === undefined ? deletionOf(history, key, version) : history.writeOf(value)
  if (write === undefined) return
  if (write.isStored !== true && (write.isVersionedByNode || write.version === version)) {
    write.isStored = true
    write.version = version
    // What a client sends ahead of the time, and arrives late, is ahead of nothing any more.
    write.aheadMs = timeOf(version) - nowMs()
  } else if (write.isVersionedByNode && write.version !== version) {
    violations.add('a write has one version', `${version}: ${describeWrite(write)}`)
  }
}

/** Of one whose client left the version to the nodes that is not known. */
function deletionOf(history: History, key: string, version: string): Write | undefined {
  const origins = history.tombstones.originsOf(key, version)
  return origins.find(write => write.version === version)
}
