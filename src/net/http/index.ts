/** The HTTP door: REST, health and metrics, over the same handler as the binary protocol. */
export { HttpServer } from './http-server.ts'
export type { HttpServerOptions } from './http-server-options.ts'
