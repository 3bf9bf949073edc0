/**
 * The lives of other members that this node has met, over its own restarts, under a node key: what
 * tells an old copy of a member's directory even after all have been restarted (peer-boots.ts).
 *
 *   boots := form u8 (1) | (node id [16] | generation u48 | boot nonce [16]) * count    big-endian
 */
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { readUint48, writeUint48 } from '../write-version.ts'
import { NodeKey, nodeKey } from './partition.ts'
import { BOOT_NONCE_SIZE, type Boot } from './peer-hello.ts'
import { NODE_ID_SIZE, type NodeId, nodeIdBytes, nodeIdOf } from './ring-member.ts'
import type { Store } from './store.ts'

const BOOTS_FORM = 1
const NONCE_OFFSET = NODE_ID_SIZE + 6
const ENTRY_SIZE = NONCE_OFFSET + BOOT_NONCE_SIZE

/** `path` is the directory, for messages. Rejects when the record is damaged or newer. */
export async function readKnownBoots(store: Store, path: string): Promise<Map<NodeId, Boot>> {
  const record = await store.read(nodeKey(NodeKey.boots))
  const boots = new Map<NodeId, Boot>()
  if (record === undefined) return boots
  const [form = 0] = record
  if (form > BOOTS_FORM) {
    throw new VersionMismatchError(
      `${path}: the record of boots has form ${form}, this build reads up to ${BOOTS_FORM}`,
    )
  }
  if (form !== BOOTS_FORM || (record.length - 1) % ENTRY_SIZE !== 0) {
    throw new CorruptionError({ path: `${path}/boots record`, offset: 0 }, 'not a list of boots')
  }
  for (let at = 1; at < record.length; at += ENTRY_SIZE) {
    const nonce = nodeIdOf(record.subarray(at + NONCE_OFFSET, at + ENTRY_SIZE))
    const generation = readUint48(record, at + NODE_ID_SIZE)
    boots.set(nodeIdOf(record.subarray(at, at + NODE_ID_SIZE)), { generation, nonce })
  }
  return boots
}

/** Submits it at once: what is written afterwards is not durable before it. Never rejects. */
export async function writeKnownBoots(
  store: Store,
  boots: ReadonlyMap<NodeId, Boot>,
  logger: Logger,
): Promise<void> {
  const value = new Uint8Array(1 + boots.size * ENTRY_SIZE)
  value[0] = BOOTS_FORM
  let at = 1
  for (const [nodeId, { generation, nonce }] of boots) {
    value.set(nodeIdBytes(nodeId), at)
    writeUint48(value, at + NODE_ID_SIZE, generation)
    value.set(nodeIdBytes(nonce), at + NONCE_OFFSET)
    at += ENTRY_SIZE
  }
  try {
    const put = { type: 'put', key: nodeKey(NodeKey.boots), value, expiryMs: 0 } as const
    await store.write([put], { durability: 'sync' })
  } catch (error) {
    logger.warn('which start of other members is the latest could not be kept', { error })
  }
}
