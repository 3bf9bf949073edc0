/** The cluster layer's only door: a node, the stored form that it keeps, and the ring. */
export { type Load, loads, worstLoad } from './balance.ts'
export { decodeRoutes } from './client-routes.ts'
export { type ClusterStatus, clusterStatus, type MemberStatus } from './cluster-status.ts'
export type { HintReport, OwedHints } from './hint-reports.ts'
export { WRITE_REFUSALS } from './member-profile.ts'
export { type Node, startNode } from './node.ts'
export type { NodeIdentity } from './node-identity.ts'
export {
  type ClusterOptions,
  type NodeEnvironment,
  type NodeOptions,
  type NodeSeams,
  PEER_PORT_DEFAULT,
} from './options.ts'
export {
  PARTITION_COUNT_DEFAULT,
  PARTITION_COUNT_MAX,
  Partitioner,
  USER_KEY_SIZE_MAX,
} from './partition.ts'
export { ownerIds, type PartitionMove, partitionMoves } from './partition-moves.ts'
export { PeerLinks, type PeerLinksOptions } from './peer-links.ts'
export { type Lane, type PeerContext, type PeerHandler, PeerMessage, type Peers } from './peers.ts'
export { Placement, type PlacementRules } from './placement.ts'
export { type ProxyOptions, type RunningProxy, startProxy } from './proxy.ts'
export { type Readmission, readmit } from './readmission.ts'
export {
  findMember,
  operationOf,
  REPLICATION_FACTOR_MAX,
  type Ring,
  type RingOperation,
  type RingPhase,
  VIRTUAL_NODES_MAX,
} from './ring.ts'
export {
  abort,
  beginJoin,
  beginLeave,
  beginRemove,
  beginReplace,
  finish,
  initRing,
  moveReads,
  RingChangeError,
  type RingRefusal,
  readdress,
} from './ring-change.ts'
export { decodeRingMessage, encodeRing } from './ring-format.ts'
export type { MemberState, NewMember, NodeId, RingMember } from './ring-member.ts'
export { WEIGHT_MAX } from './ring-member.ts'
export { RingTable } from './ring-table.ts'
export { chooseTokenSalt } from './token-salt.ts'
export { STORED_HEADER_SIZE_MAX } from './versioned-value.ts'
