/** What all requests of one HTTP door share. */
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import type { WorkTurns } from '../../work-turns.ts'
import type { Admission } from '../admission.ts'
import type { Doorkeeper } from '../credentials.ts'
import type { ServerIdentity } from '../handshake.ts'
import type { ServerLimits } from '../limits.ts'
import type { MetricFamily } from '../metrics.ts'
import type { RequestHandler } from '../request-handler.ts'
import type { HttpCall } from './http-call.ts'
import type { HttpStats } from './http-stats.ts'

export interface HttpContext {
  readonly handler: RequestHandler
  readonly clock: Clock
  readonly logger: Logger
  readonly limits: ServerLimits
  readonly admission: Admission
  readonly doorkeeper: Doorkeeper
  readonly identity: ServerIdentity
  readonly turns: WorkTurns
  readonly stats: HttpStats
  /** Requests that wait for the handler; their deadlines are watched. */
  readonly waiting: Set<HttpCall>
  /** True once it stops: what is under way is answered, with the advice to go elsewhere. */
  readonly isDraining: boolean
  /** What the door, and those beside it, have to tell to Prometheus. */
  metrics(): readonly MetricFamily[]
}
