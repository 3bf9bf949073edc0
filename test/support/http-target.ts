/** An HTTP door over the handler that `kvd` has, on a port of this machine. */
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Clock, systemClock } from '../../src/clock.ts'
import { type Logger, silentLogger } from '../../src/logger.ts'
import { HttpServer, type HttpServerOptions } from '../../src/net/http/index.ts'
import type { RequestHandler } from '../../src/net/request-handler.ts'
import { Server } from '../../src/net/server.ts'
import { seededRandom } from '../../src/random.ts'
import { engineTarget } from './fuzz-target.ts'
import { temporaryDirectory } from './temp-directory.ts'

export interface HttpTargetOptions
  extends Partial<Pick<HttpServerOptions, 'limits' | 'credentials' | 'metrics'>> {
  readonly handler?: RequestHandler
  readonly logger?: Logger
  readonly clock?: Clock
}

export interface HttpTarget {
  readonly port: number
  readonly url: string
  readonly server: HttpServer
  readonly handler: RequestHandler
}

/** A server of the door; the caller listens and closes. */
export function httpServer(
  handler: RequestHandler,
  options: Omit<HttpTargetOptions, 'handler'> = {},
): HttpServer {
  const { limits = {}, credentials = {}, logger = silentLogger, ...given } = options
  const { clock = systemClock(), ...others } = given
  const common = { handler, clock, logger, limits, credentials }
  const sharesWith = new Server({ ...common, random: seededRandom(1) })
  return new HttpServer({ ...common, ...others, sharesWith, nodeId: 'n1', serverVersion: '1.2.3' })
}

/** It ends with the test. Without a handler there is an engine in a directory of its own. */
export async function startHttp(
  t: TestContext,
  options: HttpTargetOptions = {},
): Promise<HttpTarget> {
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
  const server = httpServer(handler, options)
  closing.push(() => server.close({ graceMs: 0 }))
  if (engine !== undefined) closing.push(() => engine.close())
  const { port } = await server.listen({ port: 0 })
  return { port, url: `http://127.0.0.1:${port}`, server, handler }
}
