/** What the server of the HTTP door is made of. */
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import type { Audit, Users } from '../auth/index.ts'
import type { Credentials } from '../credentials.ts'
import type { CountingDoor } from '../door-metrics.ts'
import type { EventLog } from '../event-log.ts'
import type { ServerLimits } from '../limits.ts'
import type { LoadMeter } from '../load-meter.ts'
import type { MetricFamily } from '../metrics.ts'
import type { RequestHandler } from '../request-handler.ts'
import type { Server } from '../server.ts'
import type { ServerTls } from '../tls/index.ts'
import type { HttpContext } from './http-context.ts'

export interface HttpServerOptions {
  readonly handler: RequestHandler
  readonly clock: Clock
  readonly logger: Logger
  /** Whose limits on connections and memory hold for both together. */
  readonly sharesWith: Server
  /** See limits.ts; the same as those of `sharesWith`. */
  readonly limits?: Partial<ServerLimits>
  readonly credentials?: Credentials
  readonly users?: Users | undefined
  readonly audit?: Audit
  /** With it, the door speaks HTTPS. @defaultValue HTTP */
  readonly tls?: ServerTls | undefined
  /** See ServerOptions. @defaultValue false */
  readonly allowInsecureRemote?: boolean
  readonly nodeId: string
  /** @defaultValue '' */
  readonly clusterId?: string
  /** @defaultValue '' */
  readonly serverVersion?: string
  /** All doors of the node by name, this one included. @defaultValue this one, as `http` */
  readonly doors?: () => readonly NamedDoor[]
  /** Of all doors, which whoever made it starts and stops. @defaultValue one of its own */
  readonly load?: LoadMeter
  /** What happens on the node. @defaultValue one that only this door writes to */
  readonly events?: EventLog
  /** What the doors of the node have to tell at /metrics. @defaultValue nothing */
  readonly metrics?: () => readonly MetricFamily[]
}

/** A server under the name that figures have it by. */
export type NamedDoor = readonly [name: string, door: CountingDoor]

/** The context, as its server sees it. */
export interface HttpDoorContext extends HttpContext {
  isDraining: boolean
}
