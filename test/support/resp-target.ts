/** A server for Redis clients over the handler that `kvd` has, on a port of this machine. */
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import type { Logger } from '../../src/logger.ts'
import { silentLogger } from '../../src/logger.ts'
import type { Credentials } from '../../src/net/credentials.ts'
import type { ServerLimits } from '../../src/net/limits.ts'
import type { RequestHandler } from '../../src/net/request-handler.ts'
import { RespDoor } from '../../src/net/resp/index.ts'
import { Server } from '../../src/net/server.ts'
import { seededRandom } from '../../src/random.ts'
import { engineTarget } from './fuzz-target.ts'
import { temporaryDirectory } from './temp-directory.ts'

export interface RespTargetOptions {
  readonly handler?: RequestHandler
  readonly limits?: Partial<ServerLimits>
  readonly credentials?: Credentials
  readonly logger?: Logger
}

export interface RespTarget {
  readonly port: number
  readonly server: Server
  readonly handler: RequestHandler
}

/** It ends with the test. Without a handler there is an engine in a directory of its own. */
export async function startResp(
  t: TestContext,
  options: RespTargetOptions = {},
): Promise<RespTarget> {
  // Hooks run in their order: the directory goes when nothing uses it any more.
  const closing: (() => Promise<void>)[] = []
  t.after(async () => {
    for (const close of closing) await close()
  })
  const engine =
    options.handler === undefined
      ? await engineTarget(join(temporaryDirectory(t), 'data'))
      : undefined
  const handler = options.handler ?? engine!.handler
  const random = seededRandom(1)
  const server = new Server({
    handler,
    clock: systemClock(),
    random,
    protocol: new RespDoor(random),
    logger: options.logger ?? silentLogger,
    limits: options.limits ?? {},
    credentials: options.credentials ?? {},
  })
  closing.push(() => server.close({ graceMs: 0 }))
  if (engine !== undefined) closing.push(() => engine.close())
  const { port } = await server.listen({ port: 0 })
  return { port, server, handler }
}
