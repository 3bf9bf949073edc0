/**
 * The lives of other members that this node has met, over its own restarts, under a node key: what
 * tells an old copy of a member's directory even after all have been restarted (peer-boots.ts).
 *
 * The same bytes are the message `boots`, by which members tell each other.
 *
 *   boots := form u8 (2) | (node id [16] | generation u48 | boot nonce [16] | state u8) * count
 *          or form u8 (1) | (node id [16] | generation u48 | boot nonce [16]) * count, of earlier
 *          builds                                                                     big-endian
 *   state := 1 when most members have taken the start, 0 when that is not known
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { readUint48, writeUint48 } from '../write-version.ts'
import { NodeKey, nodeKey } from './partition.ts'
import { BOOT_NONCE_SIZE, type Boot } from './peer-hello.ts'
import { NODE_ID_SIZE, type NodeId, nodeIdBytes, nodeIdOf } from './ring-member.ts'
import type { Store } from './store.ts'

const BOOTS_FORM = 2
/** Without states. */
const EARLIER_FORM = 1
/** From a write that failed to the next try. */
const RETRY_MS = 1000
const NONCE_OFFSET = NODE_ID_SIZE + 6
const STATE_OFFSET = NONCE_OFFSET + BOOT_NONCE_SIZE
const ENTRY_SIZE = STATE_OFFSET + 1
const TAKEN = 1

/** `path` is the directory, for messages. Rejects when the record is damaged or newer. */
export async function readKnownBoots(store: Store, path: string): Promise<Map<NodeId, Boot>> {
  const record = await store.read(nodeKey(NodeKey.boots))
  if (record === undefined) return new Map()
  const [form = 0] = record
  if (form > BOOTS_FORM) {
    throw new VersionMismatchError(
      `${path}: the record of boots has form ${form}, this build reads up to ${BOOTS_FORM}`,
    )
  }
  const boots = decodeBoots(record)
  if (boots !== undefined) return boots
  throw new CorruptionError({ path: `${path}/boots record`, offset: 0 }, 'not a list of boots')
}

/** Undefined for what is no list of boots, or of a later form. */
export function decodeBoots(record: Uint8Array): Map<NodeId, Boot> | undefined {
  const [form] = record
  const entrySize = form === EARLIER_FORM ? STATE_OFFSET : ENTRY_SIZE
  const isKnown = form === BOOTS_FORM || form === EARLIER_FORM
  if (!isKnown || (record.length - 1) % entrySize !== 0) return undefined
  const boots = new Map<NodeId, Boot>()
  for (let at = 1; at < record.length; at += entrySize) {
    const state = form === EARLIER_FORM ? 0 : record[at + STATE_OFFSET]!
    if (state > TAKEN) return undefined
    const nonce = nodeIdOf(record.subarray(at + NONCE_OFFSET, at + STATE_OFFSET))
    const boot = { generation: readUint48(record, at + NODE_ID_SIZE), nonce }
    const nodeId = nodeIdOf(record.subarray(at, at + NODE_ID_SIZE))
    boots.set(nodeId, state === TAKEN ? { ...boot, isTaken: true } : boot)
  }
  return boots
}

export function encodeBoots(boots: ReadonlyMap<NodeId, Boot>): Uint8Array {
  const value = new Uint8Array(1 + boots.size * ENTRY_SIZE)
  value[0] = BOOTS_FORM
  let at = 1
  for (const [nodeId, { generation, nonce, isTaken }] of boots) {
    value.set(nodeIdBytes(nodeId), at)
    writeUint48(value, at + NODE_ID_SIZE, generation)
    value.set(nodeIdBytes(nonce), at + NONCE_OFFSET)
    value[at + STATE_OFFSET] = isTaken === true ? TAKEN : 0
    at += ENTRY_SIZE
  }
  return value
}

export interface KnownBootsOptions {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
}

/** Keeps the latest of what it is given, however often that fails. */
export class KnownBootsKeeper {
  readonly #options: KnownBootsOptions
  /** What was given last, until it is durable. */
  #latest: Uint8Array | undefined
  /** Settles, without failing, with all that were begun. */
  #writing: Promise<void> = Promise.resolve()
  #cancelRetry: CancelTimer = () => undefined
  #isClosed = false

  constructor(options: KnownBootsOptions) {
    this.#options = options
  }

  /** Submits it at once, so that what is written afterwards is not durable before it. */
  keep(boots: ReadonlyMap<NodeId, Boot>): void {
    if (this.#isClosed) return
    const value = encodeBoots(boots)
    this.#latest = value
    this.#write(value)
  }

  /** Resolves once nothing is being written. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelRetry()
    await this.#writing
  }

  #write(value: Uint8Array): void {
    this.#cancelRetry()
    const both = Promise.all([this.#writing, this.#writeOne(value)])
    this.#writing = both.then(() => undefined)
  }

  /** Never rejects. */
  async #writeOne(value: Uint8Array): Promise<void> {
    const { store, clock, logger } = this.#options
    try {
      const put = { type: 'put', key: nodeKey(NodeKey.boots), value, expiryMs: 0 } as const
      await store.write([put], { durability: 'sync' })
      if (this.#latest === value) this.#latest = undefined
    } catch (error) {
      // What was given since is written anyway.
      if (this.#latest !== value || this.#isClosed) return
      logger.warn('which start of other members is the latest could not be kept yet', { error })
      const again = (): void => this.#write(value)
      this.#cancelRetry = clock.setTimer(RETRY_MS, again, { background: true })
    }
  }
}
