/** The cluster layer's only door: a node, and the stored form that it keeps. */
export { type Node, startNode } from './node.ts'
export type { NodeIdentity } from './node-identity.ts'
export type { NodeEnvironment, NodeOptions } from './options.ts'
export { PARTITION_COUNT_DEFAULT, PARTITION_COUNT_MAX, USER_KEY_SIZE_MAX } from './partition.ts'
export { STORED_HEADER_SIZE_MAX } from './versioned-value.ts'
