/**
 * Bugs planted into the fuzzed server, each of which the fuzzer must catch: a checker that has
 * never failed proves nothing.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { RequestContext, RequestHandler } from '../../src/net/request-handler.ts'

export interface Plant {
  /** The handler with the bug in it. */
  around(handler: RequestHandler): RequestHandler
  /** Called when a hostile conversation of so many frames is over. */
  attacked(frameCount: number): void
  /** Where good clients connect to reach the server on `port`. */
  goodPort(port: number): Promise<number>
  close(): Promise<void>
}

export const NO_PLANT: Plant = {
  around: handler => handler,
  attacked: () => undefined,
  goodPort: async port => port,
  close: async () => undefined,
}

/** Now and then two requests that wait get each other's id, so each reply goes to the other. */
export function mixedIds(): Plant {
  let waiting: { context: { id: number }; client: object | undefined } | undefined
  let count = 0
  return {
    ...NO_PLANT,
    around(handler) {
      const planted: Partial<RequestHandler> = {
        async get(key: Uint8Array, context: RequestContext) {
          const request = context as RequestContext & { id: number }
          const other = waiting
          waiting = { context: request, client: context.client }
          if (other !== undefined && other.client === context.client && ++count % 20 === 0) {
            const { id } = request
            request.id = other.context.id
            other.context.id = id
          }
          const value = await handler.get(key, context)
          waiting = undefined
          return value
        },
      }
      // Methods of classes are found through the prototype.
      return Object.assign(Object.create(handler) as RequestHandler, bound(handler), planted)
    },
  }
}

/** The methods of a handler, to be called on any object. */
function bound(handler: RequestHandler): RequestHandler {
  return {
    get: (key, context) => handler.get(key, context),
    getMany: (keys, context, bytesMax) => handler.getMany(keys, context, bytesMax),
    put: (put, context) => handler.put(put, context),
    delete: (key, context) => handler.delete(key, context),
    batch: (operations, context) => handler.batch(operations, context),
    openScan: (scan, context) => handler.openScan(scan, context),
    count: (scan, context) => handler.count(scan, context),
    stats: context => handler.stats(context),
    ring: context => handler.ring(context),
  }
}

/** What one hostile client sent now and then closes the connection of another. */
export function closesOthers(): Plant {
  const sockets: Socket[] = []
  let relay: Server | undefined
  let count = 0
  return {
    ...NO_PLANT,
    attacked() {
      if (++count % 50 === 0) sockets.shift()?.destroy()
    },
    async goodPort(port) {
      const server = createServer(socket => {
        const onward = connect({ port, host: '127.0.0.1' })
        for (const [from, to] of [
          [socket, onward],
          [onward, socket],
        ] as const) {
          from.on('data', chunk => to.write(chunk))
          from.on('error', () => undefined)
          from.on('close', () => to.destroy())
        }
        sockets.push(onward)
      })
      relay = server
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
      const address = server.address()
      return typeof address === 'object' && address !== null ? address.port : 0
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      relay?.close()
    },
  }
}

/** Every frame of a hostile client leaves some memory behind. */
export function leaks(bytesEach: number): Plant {
  const kept: Uint8Array[] = []
  return {
    ...NO_PLANT,
    attacked(frameCount) {
      kept.push(new Uint8Array(bytesEach * frameCount))
    },
  }
}
