/** What all requests of one HTTP door share. */
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import type { WorkTurns } from '../../work-turns.ts'
import type { Admission } from '../admission.ts'
import type { Doorkeeper } from '../doorkeeper.ts'
import type { EventLog } from '../event-log.ts'
import type { ServerIdentity } from '../handshake.ts'
import type { ServerLimits } from '../limits.ts'
import type { MetricFamily } from '../metrics.ts'
import type { RequestHandler } from '../request-handler.ts'
import type { SlowOperations } from '../slow-operations.ts'
import type { DashboardFiles } from './dashboard-files.ts'
import type { HttpCall } from './http-call.ts'
import type { HttpStats } from './http-stats.ts'
import type { StatsBoard } from './stats-board.ts'

export interface HttpContext {
  readonly handler: RequestHandler
  readonly clock: Clock
  readonly logger: Logger
  readonly limits: ServerLimits
  readonly admission: Admission
  readonly doorkeeper: Doorkeeper
  readonly identity: ServerIdentity
  readonly turns: WorkTurns
  /** Of all doors. */
  readonly slow: SlowOperations
  readonly stats: HttpStats
  /** Requests that wait for the handler; their deadlines are watched. */
  readonly waiting: Set<HttpCall>
  /** True once it stops: what is under way is answered, with the advice to go elsewhere. */
  readonly isDraining: boolean
  /** For those who watch the node. */
  readonly board: StatsBoard
  readonly events: EventLog
  readonly dashboard: DashboardFiles
  /** Writes to the log that somebody was turned away, unless there are too many of those. */
  notice(client: string, code: string, why: string): void
  /** What the door, and those beside it, have to tell to Prometheus. */
  metrics(): readonly MetricFamily[]
}
