/** What all connections of one server share. */
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { WorkTurns } from '../work-turns.ts'
import type { Admission } from './admission.ts'
import type { Audit } from './auth/index.ts'
import type { Doorkeeper } from './doorkeeper.ts'
import type { ServerIdentity } from './handshake.ts'
import type { ServerLimits } from './limits.ts'
import type { RequestHandler } from './request-handler.ts'
import type { ServerStats, ServerStatsSnapshot } from './server-stats.ts'
import type { SharedWaits } from './shared-waits.ts'
import type { SlowOperations } from './slow-operations.ts'

export interface ServerContext {
  readonly handler: RequestHandler
  readonly clock: Clock
  readonly logger: Logger
  readonly limits: ServerLimits
  readonly identity: ServerIdentity
  readonly admission: Admission
  readonly doorkeeper: Doorkeeper
  readonly audit: Audit
  readonly stats: ServerStats
  readonly waits: SharedWaits
  /** Shared by everything that takes long. */
  readonly turns: WorkTurns
  /** Of all doors. */
  readonly slow: SlowOperations
  snapshot(): ServerStatsSnapshot
  /** Connections that may still be accepted. */
  freePlaces(): number
  /** The time that versions of writes are held against; see ServerOptions. */
  timeMs(): number
}
