/** The network layer's only door: the protocol, its server and its client. */
export {
  type Accept,
  type AcceptedEvents,
  type AcceptedWire,
  type AcceptOptions,
  type Acceptor,
  type Listening,
  tcpAcceptor,
} from './acceptor.ts'
export {
  ACTIONS,
  Audit,
  checkUserName,
  formatGrant,
  formatUsers,
  hashPassword,
  parseGrant,
  parseStoredUsers,
  parseUsers,
  SALT_SIZE,
  type StoredUser,
  storedGrant,
  Users,
} from './auth/index.ts'
export {
  Client,
  type ClientStatus,
  connect,
  type RemoteScanCallOptions,
} from './client.ts'
export type { ClientOptions } from './client-options.ts'
export type { ConnectionEvent } from './connection-pool.ts'
export {
  formatAddress,
  type NodeAddress,
  parseConnectionUrl,
  withoutPassword,
} from './connection-url.ts'
export { type Connector, tcpConnector, type Wire, type WireEvents } from './connector.ts'
export { type Credentials, DEFAULT_USER } from './credentials.ts'
export { doorMetrics, sharedMetrics } from './door-metrics.ts'
export { EventLog, eventLogger } from './event-log.ts'
export { FRAME_LENGTH_SIZE, FrameDecoder, readUint32 } from './frame.ts'
export { GuardedHandler } from './guarded-handler.ts'
export { HttpServer } from './http/index.ts'
export { LatencyHistogram, type LatencySummary } from './latency-histogram.ts'
export {
  DEFAULT_PORT,
  DEFAULT_SERVER_LIMITS,
  refusedConnectionsMax,
  type ServerLimits,
  WRITE_VERSION_SIZE,
} from './limits.ts'
export { type LoadMeter, type LoadPoint, loadMeterOf } from './load-meter.ts'
export { byLabel, counter, gauge, type MetricFamily, type MetricSample } from './metrics.ts'
export { PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from './opcode.ts'
export { OutputBuffer } from './output-buffer.ts'
export { PLAIN_ANSWERS } from './plain-answers.ts'
export { ProxyHandler, ProxyLanes } from './proxy/index.ts'
export type { ReceiveBudget } from './receive-buffer.ts'
export type { RemoteScan } from './remote-scan.ts'
export type {
  AdminNeeds,
  EntryVersions,
  HandlerDecision,
  HandlerDelete,
  HandlerEntry,
  HandlerOperation,
  HandlerPut,
  HandlerScan,
  HandlerUpdate,
  HealthCheck,
  MaybePromise,
  RequestContext,
  RequestHandler,
  RingOwnership,
  ScanPage,
  ScanSession,
} from './request-handler.ts'
export { RespDoor } from './resp/index.ts'
/** For programs that speak the protocol themselves, such as load generators and proxies. */
export { decodeResponse, encodeResponse, type Response } from './response.ts'
export { type Backoff, backoffMs } from './retry.ts'
export type { DecodeRoutes, RouteMember, Routes } from './routes.ts'
export { checkListen, listenSafely, type SafeListen } from './safe-listen.ts'
export { Server } from './server.ts'
export type {
  CloseOptions,
  ListenAddress,
  ListenOptions,
  ListenPolicy,
  ServerOptions,
} from './server-options.ts'
export { isLoopback, resolveListenOptions } from './server-options.ts'
export type { ServerStatsSnapshot } from './server-stats.ts'
export type { SlowOperations, SlowPage } from './slow-operations.ts'
export {
  decodeErrorBody,
  type ErrorBody,
  encodeErrorBody,
  errorBodyOf,
  remoteError,
  statusOfError,
} from './status-error.ts'
export {
  Certificate,
  type CertifiedHost,
  CLIENT_AUTH,
  type ClientAuth,
  type ClientTls,
  type HandshakeEnd,
  type ServerTls,
  TlsError,
  type TlsFiles,
  TlsIdentity,
  tlsAcceptor,
  tlsConnector,
  watchCertificate,
} from './tls/index.ts'
