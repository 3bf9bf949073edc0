/**
 * Bugs that are planted in simulated nodes, to see that the checkers find them. Each stands at one
 * of the seams of a node (NodeSeams), or changes what it is started with.
 */
import { ByteWriter, compareBytes, copyBytes } from '../../../src/bytes.ts'
import {
  type AcceptorAnswer,
  decodeAnswer,
  encodeAnswer,
} from '../../../src/cluster/epoch-format.ts'
import type { NodeSeams, PeerLinksOptions } from '../../../src/cluster/index.ts'
import { NodeKey, nodeKey, Partitioner } from '../../../src/cluster/partition.ts'
import type { StoredEntry } from '../../../src/cluster/partitioned-store.ts'
import { type PeerHandler, PeerMessage, type Peers } from '../../../src/cluster/peers.ts'
import { decodeRepair, encodeRepair } from '../../../src/cluster/read-messages.ts'
import {
  decodeEntries,
  decodeForward,
  encodeEntries,
} from '../../../src/cluster/replica-message.ts'
import type { NodeId } from '../../../src/cluster/ring-member.ts'
import type { Store, StoreOperation } from '../../../src/cluster/store.ts'
import {
  encodeValue,
  isTombstone,
  liveValue,
  storedVersion,
} from '../../../src/cluster/versioned-value.ts'
import type { Db } from '../../../src/engine/index.ts'
import { UnavailableError } from '../../../src/errors.ts'
import { CONSISTENCIES } from '../../../src/key-value-store.ts'
import { readUint48, writeUint48 } from '../../../src/write-version.ts'
import { forgetful, withoutHints } from '../write-plants.ts'
import type { Plant } from './sim-node.ts'

/** A plant at the seams. */
export function seams(planted: NodeSeams): Plant {
  return ({ options, environment }) => ({
    options,
    environment: { ...environment, seams: { ...environment.seams, ...planted } },
  })
}

/** One after the other. Of two at the same seam the later one counts. */
export function both(one: Plant, other: Plant): Plant {
  return (start, node) => other(one(start, node), node)
}

/** Each start counts as later than all before, whatever disk the node is started with. */
export const copyIsLater: Plant = ({ options, environment }) => {
  const generation = Math.floor(environment.clock.wallMs() / 1000)
  const links = (given: PeerLinksOptions) => ({ ...given, boot: { ...given.boot, generation } })
  return seams({ links })({ options, environment }, '')
}

/** An old copy that was taken back forgets what it lacks, and answers as if it had all. */
export const lackForgotten: Plant = seams({
  store: db => ({
    ...passedOn(db),
    read: (key, snapshot) =>
      compareBytes(key, nodeKey(NodeKey.damaged)) === 0 ? undefined : db.read(key, snapshot),
  }),
})

/** A write is acknowledged before it is durable. */
export const acknowledgedEarly: Plant = ({ options, environment }) => ({
  options: { ...options, durability: 'none' },
  environment,
})

/** No bug: nothing is compared, so that what writes and hints did not bring stays missing. */
export const withoutRepair: Plant = seams({
  peers: peers => new Between(peers, { mute: isRepair }),
})

function isRepair(kind: number): boolean {
  return kind >= PeerMessage.treeRoots && kind <= PeerMessage.purge
}

/** No bug: of a scan between nodes a page has two entries at most, so that there are many pages. */
export const smallPages: Plant = seams({
  peers: peers => new Between(peers, { receive: withSmallPage }),
})

/** Both messages end with the most entries and bytes that the page may have. */
function withSmallPage(kind: number, body: Uint8Array): Uint8Array {
  if (kind !== PeerMessage.scanOpen && kind !== PeerMessage.scanNext) return body
  const copy = copyBytes(body)
  new DataView(copy.buffer, copy.byteOffset).setUint32(copy.length - 8, 2, true)
  return copy
}

/** Of what other nodes pass on, to be written at quorum, every eighth is acknowledged, no more. */
export const forwardDropped: Plant = (start, node) => {
  const quorumCode = CONSISTENCIES.indexOf('quorum') + 1
  let count = 0
  const instead = (kind: number, body: Uint8Array): Uint8Array | undefined => {
    if (kind !== PeerMessage.forwardWrite) return undefined
    if (decodeForward(body).consistencyCode !== quorumCode) return undefined
    return count++ % 8 === 7 ? new Uint8Array(0) : undefined
  }
  return seams({ peers: inner => new Between(inner, { instead }) })(start, node)
}

/** Hints are lost in a crash. */
export const hintNotDurable: Plant = seams({ store: withoutHints })

/** What the log says is owed to others is not read after a restart. */
export const dutyForgotten: Plant = seams({ log: forgetful })

/** Hints are sent to another node than they are for. */
export const hintToWrongOwner: Plant = seams({
  peers: peers =>
    new Between(peers, {
      mute: isRepair,
      redirect: (peer, kind, others) =>
        kind === PeerMessage.hints ? (others.find(other => other !== peer) ?? peer) : peer,
    }),
})

/** A replica versions what it is sent when it arrives: the last to come stays. */
export const arrivalDecides: Plant = ({ options, environment }) => {
  const { clock } = environment
  let last = 0
  function restamp(body: Uint8Array): Uint8Array {
    const { epoch, entries } = decodeEntries(body)
    last = Math.max(last + 1, Math.floor(clock.wallMs()))
    return copyBytes(encodeEntries({ epoch, entries: entries.map(entry => later(entry, last)) }))
  }
  const peers = (inner: Peers) =>
    new Between(inner, {
      receive: (kind, body) => (kind === PeerMessage.replicate ? restamp(body) : body),
    })
  return seams({ peers })({ options, environment }, '')
}

function later({ engineKey, stored }: StoredEntry, timeMs: number): StoredEntry {
  const changed = stored.slice()
  writeUint48(changed, 2, timeMs)
  return { engineKey, stored: changed }
}

const PURGED_AFTER_MS = 200

/** The engine may forget a tombstone soon, whoever has not heard of the deletion yet. */
export const purgedEarly: Plant = ({ options, environment }) => {
  const { clock } = environment
  const hurry = (operation: StoreOperation): StoreOperation => {
    if (operation.type === 'del' || operation.key.length <= 2) return operation
    if (operation.key[0] === 0xff || !isTombstone(operation.value)) return operation
    return { ...operation, expiryMs: Math.floor(clock.wallMs()) + PURGED_AFTER_MS }
  }
  const store = (db: Db): Store => ({
    ...passedOn(db),
    write: (operations, given) => db.write(operations.map(hurry), given),
  })
  return seams({ store })({ options, environment }, '')
}

function passedOn(db: Db): Store {
  return {
    read: (key, snapshot) => db.read(key, snapshot),
    readRange: range => db.readRange(range),
    leap: read => db.leap(read),
    write: (operations, given) => db.write(operations, given),
    prepareWrite: (count, logData) => db.prepareWrite(count, logData),
    snapshot: () => db.snapshot(),
    compact: range => db.compact(range),
  }
}

/** Read repair gives a replica the first value that it ever had, under a version that wins. */
export const repairedWithOlder: Plant = ({ options, environment }) => {
  const partitioner = new Partitioner(options.partitionCount!)
  const seen = new Map<string, Uint8Array>()
  function note({ engineKey, stored }: StoredEntry): void {
    const name = Buffer.from(engineKey).toString('hex')
    const value = liveValue(stored, 0)
    if (value !== undefined && !seen.has(name)) seen.set(name, value.slice())
  }
  function older({ engineKey, stored }: StoredEntry): StoredEntry {
    const first = seen.get(Buffer.from(engineKey).toString('hex'))
    if (first === undefined) return { engineKey, stored }
    const version = storedVersion(stored).slice()
    writeUint48(version, 0, readUint48(version, 0) + 1)
    return { engineKey, stored: encodeValue(version, first, 0) }
  }
  function change(body: Uint8Array): Uint8Array {
    const message = decodeRepair(body, partitioner)
    return copyBytes(encodeRepair({ ...message, entries: message.entries.map(older) }))
  }
  const peers = (inner: Peers) =>
    new Between(inner, {
      receive(kind, body) {
        if (kind === PeerMessage.replicate)
          for (const entry of decodeEntries(body).entries) note(entry)
        return kind === PeerMessage.readRepair ? change(body) : body
      },
    })
  return seams({ peers })({ options, environment }, '')
}

/**
 * A member agrees to a ring for an epoch that it has left behind. Who is behind learns nothing but
 * what it is answered, so that it does propose one.
 */
export const staleEpochAccepted: Plant = ({ options, environment }, node) => {
  const { epochPrepare, epochAccept, ringFetch, epochCommit } = PeerMessage
  const agreed: Readonly<Record<number, AcceptorAnswer>> = {
    [epochPrepare]: { type: 'promised', accepted: undefined },
    [epochAccept]: { type: 'accepted' },
  }
  const ringPeers = (inner: Peers) =>
    new Between(inner, {
      mute: kind => kind === ringFetch || kind === epochCommit,
      answer(kind, body) {
        const instead = agreed[kind]
        if (instead === undefined || decodeAnswer(body, node).type !== 'decided') return body
        return encodeAnswer(instead)
      },
    })
  return seams({ ringPeers })({ options, environment }, node)
}

/** Each member that is asked for the time says what this machine says: every step is believed. */
export const stepBelieved: Plant = ({ options, environment }) => {
  const { clock } = environment
  const peers = (inner: Peers) =>
    new Between(inner, {
      reply(kind, body) {
        if (kind !== PeerMessage.clock) return body
        const wallMs = Math.floor(clock.wallMs())
        return new ByteWriter(16).uint64(wallMs).uint64(wallMs).written
      },
    })
  return seams({ peers })({ options, environment }, '')
}

/** A clock with which nobody agrees is taken for right after a start. */
export const clockUnasked: Plant = ({ options, environment }) => ({
  options: { ...options, cluster: { ...options.cluster!, trustClock: true } },
  environment,
})

interface Meddling {
  /** Messages that fail as if there were no link. */
  readonly mute?: (kind: number) => boolean
  /** Who is asked instead; `others` are the nodes that were ever linked. */
  readonly redirect?: (peer: NodeId, kind: number, others: readonly NodeId[]) => NodeId
  /** What is answered, and nothing is done; undefined: it is. */
  readonly instead?: (kind: number, body: Uint8Array) => Uint8Array | undefined
  /** What arrives instead. */
  readonly receive?: (kind: number, body: Uint8Array) => Uint8Array
  /** What it is told instead of what the other node answered. */
  readonly reply?: (kind: number, body: Uint8Array) => Uint8Array
  /** What is answered instead. */
  readonly answer?: (kind: number, body: Uint8Array) => Uint8Array
}

/** Links that do something else than they are told. */
class Between implements Peers {
  readonly #inner: Peers
  readonly #meddling: Meddling
  readonly #others: NodeId[] = []

  constructor(inner: Peers, meddling: Meddling) {
    this.#inner = inner
    this.#meddling = meddling
    inner.onLink(peer => {
      if (!this.#others.includes(peer)) this.#others.push(peer)
    })
  }

  get self(): NodeId {
    return this.#inner.self
  }

  handle(kind: number, handler: PeerHandler): void {
    const { instead, receive, answer } = this.#meddling
    this.#inner.handle(kind, async (body, context) => {
      const early = instead?.(kind, body)
      if (early !== undefined) return early
      const given = await handler(receive?.(kind, body) ?? body, context)
      return answer?.(kind, given) ?? given
    })
  }

  send: Peers['send'] = (peer, lane, kind, body) =>
    this.#meddling.mute?.(kind) !== true && this.#inner.send(peer, lane, kind, body)

  request: Peers['request'] = async (peer, lane, kind, body, timeoutMs) => {
    const { mute, redirect, reply } = this.#meddling
    if (mute?.(kind) === true) throw new UnavailableError('planted: there is no link')
    const target = redirect?.(peer, kind, this.#others) ?? peer
    const answer = await this.#inner.request(target, lane, kind, body, timeoutMs)
    return reply?.(kind, answer) ?? answer
  }

  isLinked(peer: NodeId): boolean {
    return this.#inner.isLinked(peer)
  }

  onLink(listener: (peer: NodeId, isLinked: boolean) => void): () => void {
    return this.#inner.onLink(listener)
  }

  isAnswering(peer: NodeId): boolean {
    return this.#inner.isAnswering(peer)
  }

  onAnswering(listener: (peer: NodeId) => void): () => void {
    return this.#inner.onAnswering(listener)
  }

  isReceivingLarge: Peers['isReceivingLarge'] = (peer, lane) =>
    this.#inner.isReceivingLarge(peer, lane)

  backlogBytes: Peers['backlogBytes'] = (peer, lane) => this.#inner.backlogBytes(peer, lane)
}
