/** HELLO: which protocol version and features a connection speaks. */
import { VersionMismatchError } from '../errors.ts'
import type { ServerLimits } from './limits.ts'
import { FEATURES_SUPPORTED, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from './opcode.ts'
import type { HelloBody } from './request-body.ts'
import type { HelloReply } from './response-body.ts'

/** Who the server says it is. */
export interface ServerIdentity {
  readonly nodeId: string
  readonly serverName: string
  readonly serverVersion: string
  readonly clusterId: string
}

/** The answer to a HELLO, as far as it does not depend on who says it. */
export function acceptHello(
  hello: HelloBody,
  identity: ServerIdentity,
  limits: ServerLimits,
  timeMs: number,
): HelloReply {
  const version = Math.min(hello.versionMax, PROTOCOL_VERSION_MAX)
  if (version < PROTOCOL_VERSION_MIN || version < hello.versionMin) {
    throw new VersionMismatchError(
      `the client speaks protocol versions ${hello.versionMin} to ${hello.versionMax}, this ` +
        `server ${PROTOCOL_VERSION_MIN} to ${PROTOCOL_VERSION_MAX}; upgrade the older of the two`,
    )
  }
  return {
    version,
    features: (hello.features & FEATURES_SUPPORTED) >>> 0,
    wallMs: timeMs,
    frameSizeMax: limits.frameSizeMax,
    valueSizeMax: limits.valueSizeMax,
    inFlightMax: limits.connectionInFlightMax,
    getManyKeysMax: limits.getManyKeysMax,
    batchOperationsMax: limits.batchOperationsMax,
    scansMax: limits.scansMax,
    idleTimeoutMs: limits.idleTimeoutMs,
    ...identity,
  }
}
