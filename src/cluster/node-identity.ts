/**
 * Who a node is: made once, at the first start on an empty directory, and kept with the data. The
 * address is no part of it, so a node may move; an empty directory is always a new node.
 *
 *   identity := form u8 (1) | stored form u8 | partition count u32, big-endian
 *             | node id [16] | cluster id [16] | created u48, big-endian, ms since the Unix epoch
 *
 * Readers accept and ignore more bytes behind these fields; a change that they must understand
 * raises `form`, and a change of what user keys and values look like raises `stored form`.
 */
import { CorruptionError, InvalidArgumentError, VersionMismatchError } from '../errors.ts'
import { readUint48, writeUint48 } from '../write-version.ts'
import { checkPartitionCount, NodeKey, nodeKey, PARTITION_COUNT_DEFAULT } from './partition.ts'
import type { Store } from './store.ts'
import { STORED_FORM } from './versioned-value.ts'

const IDENTITY_FORM = 1
const ID_SIZE = 16
const COUNT_OFFSET = 2
const NODE_ID_OFFSET = 6
const CLUSTER_ID_OFFSET = NODE_ID_OFFSET + ID_SIZE
const CREATED_OFFSET = CLUSTER_ID_OFFSET + ID_SIZE
const IDENTITY_SIZE = CREATED_OFFSET + 6

export interface NodeIdentity {
  readonly nodeId: Uint8Array
  readonly clusterId: Uint8Array
  readonly partitionCount: number
  readonly createdMs: number
}

export interface IdentityOptions {
  /** For messages. */
  readonly path: string
  /** What the operator asks for; undefined takes what is there, or the default. */
  readonly partitionCount: number | undefined
  readonly wallMs: () => number
  /** Unpredictable bytes. */
  readonly entropy: (length: number) => Uint8Array
}

/** Reads the identity of the directory, or makes one when the store is empty. */
export async function openIdentity(store: Store, options: IdentityOptions): Promise<NodeIdentity> {
  const { path, partitionCount } = options
  if (partitionCount !== undefined) checkPartitionCount(partitionCount)
  const record = await store.read(nodeKey(NodeKey.identity))
  if (record === undefined) return createIdentity(store, options)
  const identity = decodeIdentity(record, path)
  if (partitionCount === undefined || partitionCount === identity.partitionCount) return identity
  throw new InvalidArgumentError(
    `${path} has ${identity.partitionCount} partitions, fixed when it was made: ` +
      `start it without a partition count, or with ${identity.partitionCount}`,
  )
}

async function createIdentity(store: Store, options: IdentityOptions): Promise<NodeIdentity> {
  await checkHoldsNothing(store, options.path)
  const identity: NodeIdentity = {
    nodeId: options.entropy(ID_SIZE),
    clusterId: options.entropy(ID_SIZE),
    partitionCount: options.partitionCount ?? PARTITION_COUNT_DEFAULT,
    createdMs: Math.floor(options.wallMs()),
  }
  const put = { key: nodeKey(NodeKey.identity), value: encodeIdentity(identity), expiryMs: 0 }
  await store.write([{ type: 'put', ...put }], { durability: 'sync' })
  return identity
}

/** Throws InvalidArgumentError unless the store is as new. */
export async function checkHoldsNothing(store: Store, path: string): Promise<void> {
  const first = { reverse: false, keysOnly: true, countMax: 1, bytesMax: 1 }
  const found = await store.readRange(first)
  if (found.keys.length > 0) {
    throw new InvalidArgumentError(
      `${path} holds a database without the record of a node. If a program made it by open(), ` +
        'give the node a directory of its own, and import the data; if it was a node, the record ' +
        'went with a damaged file: restore the directory from a backup (kvcli debug restore)',
    )
  }
}

export function encodeIdentity(identity: NodeIdentity): Uint8Array {
  const record = new Uint8Array(IDENTITY_SIZE)
  record[0] = IDENTITY_FORM
  record[1] = STORED_FORM
  new DataView(record.buffer).setUint32(COUNT_OFFSET, identity.partitionCount)
  record.set(identity.nodeId, NODE_ID_OFFSET)
  record.set(identity.clusterId, CLUSTER_ID_OFFSET)
  writeUint48(record, CREATED_OFFSET, identity.createdMs)
  return record
}

/** Throws VersionMismatchError for newer forms and CorruptionError for what is no identity. */
export function decodeIdentity(record: Uint8Array, path: string): NodeIdentity {
  checkForm(record[0], IDENTITY_FORM, 'identity', path)
  checkForm(record[1], STORED_FORM, 'stored form', path)
  if (record.length < IDENTITY_SIZE) throw corruptIdentity(path, `it has ${record.length} bytes`)
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength)
  const partitionCount = view.getUint32(COUNT_OFFSET)
  try {
    checkPartitionCount(partitionCount)
  } catch (error) {
    throw corruptIdentity(path, `it says ${partitionCount} partitions`, { cause: error })
  }
  return {
    nodeId: record.slice(NODE_ID_OFFSET, CLUSTER_ID_OFFSET),
    clusterId: record.slice(CLUSTER_ID_OFFSET, CREATED_OFFSET),
    partitionCount,
    createdMs: readUint48(record, CREATED_OFFSET),
  }
}

function checkForm(form: number | undefined, newest: number, what: string, path: string): void {
  if (form === undefined || form === 0) throw corruptIdentity(path, `its ${what} is missing`)
  if (form <= newest) return
  throw new VersionMismatchError(
    `${path} was written by a newer version (${what} ${form}, this build reads up to ${newest}): ` +
      'upgrade this program',
  )
}

function corruptIdentity(path: string, what: string, options?: ErrorOptions): CorruptionError {
  return new CorruptionError(
    { path: `${path}/node identity`, offset: 0 },
    `the node identity is damaged: ${what}`,
    options,
  )
}
