/** Arbitrary messages of the wire protocol, for property tests. */
import fc from 'fast-check'
import { Opcode, Status } from '../../src/net/opcode.ts'
import type { Request, RequestOptions } from '../../src/net/request.ts'
import type { HandlerOperation, HandlerScan } from '../../src/net/request-handler.ts'
import type { Response } from '../../src/net/response.ts'
import type { ErrorBody } from '../../src/net/status-error.ts'

const UINT32_MAX = 0xffff_ffff

/** Objects with the usual prototype, which deepEqual compares. */
function record<T>(fields: { [Name in keyof T]: fc.Arbitrary<T[Name]> }): fc.Arbitrary<T> {
  return fc.record<T>(fields, { noNullPrototype: true })
}

/** Plain byte arrays: fast-check's may be of another realm's class for deepEqual. */
export function bytes(minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength, maxLength }).map(array => Uint8Array.from(array))
}

const key = bytes(1, 40)
const value = bytes(0, 200)
const uint32 = fc.integer({ min: 0, max: UINT32_MAX })
const uint16 = fc.integer({ min: 0, max: 0xffff })
const uint53 = fc.maxSafeNat()
const ttlMs = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 40 }))
const text = fc.string({ maxLength: 40, unit: 'grapheme' })
const cursor = fc.option(bytes(1, 30), { nil: undefined })

export const requestId = fc.integer({ min: 1, max: UINT32_MAX })

const operation: fc.Arbitrary<HandlerOperation> = fc.oneof(
  record({ type: fc.constant('put' as const), key, value, ttlMs }),
  record({ type: fc.constant('del' as const), key }),
)

const lower = fc.oneof(fc.constant({}), record({ gt: key }), record({ gte: key }))
const upper = fc.oneof(fc.constant({}), record({ lt: key }), record({ lte: key }))

function scanWith(cursors: fc.Arbitrary<Uint8Array | undefined>): fc.Arbitrary<HandlerScan> {
  const rest = record({
    reverse: fc.boolean(),
    order: fc.constantFrom('ordered' as const, 'unordered' as const),
    keysOnly: fc.boolean(),
    cursor: cursors,
  })
  return fc.tuple(lower, upper, rest).map(([low, high, others]) => ({ ...low, ...high, ...others }))
}

export const requestOptions: fc.Arbitrary<RequestOptions> = record({
  budgetMs: uint32,
  consistency: fc.constantFrom(undefined, 'one' as const, 'quorum' as const, 'all' as const),
  durability: fc.constantFrom(undefined, 'sync' as const, 'interval' as const, 'none' as const),
  version: fc.option(bytes(16, 16), { nil: undefined }),
})

export const request: fc.Arbitrary<Request> = fc.oneof(
  record({
    type: fc.constant('hello' as const),
    versionMin: uint16,
    versionMax: uint16,
    features: uint32,
    clientName: text,
    credentials: bytes(0, 100),
  }),
  record({ type: fc.constant('ping' as const), payload: bytes(0, 100) }),
  record({ type: fc.constant('get' as const), key }),
  record({ type: fc.constant('getEntry' as const), key }),
  record({ type: fc.constant('getMany' as const), keys: fc.array(key, { maxLength: 20 }) }),
  record({ type: fc.constant('put' as const), key, value, ttlMs }),
  record({ type: fc.constant('delete' as const), key }),
  record({ type: fc.constant('batch' as const), operations: fc.array(operation) }),
  record({
    type: fc.constant('scanOpen' as const),
    scan: scanWith(cursor),
    scanId: uint32,
    limit: uint53,
    entriesMax: uint32,
    bytesMax: uint32,
  }),
  record({
    type: fc.constant('scanNext' as const),
    scanId: uint32,
    entriesMax: uint32,
    bytesMax: uint32,
  }),
  record({ type: fc.constant('scanClose' as const), scanId: uint32 }),
  record({ type: fc.constant('count' as const), scan: scanWith(fc.constant(undefined)) }),
  fc.constant({ type: 'stats' as const }),
  fc.constant({ type: 'ringMap' as const }),
  record({ type: fc.constant('cancel' as const), requestId: uint32 }),
)

export const errorBody: fc.Arbitrary<ErrorBody> = record({
  outcome: fc.constantFrom('rejected' as const, 'unknown' as const),
  retryAfterMs: uint32,
  message: text,
  detail: bytes(0, 30),
})

const errorStatuses = Object.values(Status).filter(status => status >= Status.invalidArgument)

const page = fc.array(fc.tuple(key, value), { maxLength: 20 }).chain(entries =>
  record({
    type: fc.constant('page' as const),
    keys: fc.constant(entries.map(entry => entry[0])),
    values: fc.constantFrom(
      undefined,
      entries.map(entry => entry[1]),
    ),
    cursor,
    done: fc.boolean(),
  }),
)

/** A response with the opcode that it may answer. */
export const response: fc.Arbitrary<{ readonly opcode: number; readonly response: Response }> =
  fc.oneof(
    of(Opcode.hello, {
      type: fc.constant('hello' as const),
      version: uint16,
      features: uint32,
      wallMs: uint53,
      frameSizeMax: uint32,
      valueSizeMax: uint32,
      inFlightMax: uint32,
      getManyKeysMax: uint32,
      batchOperationsMax: uint32,
      scansMax: uint32,
      idleTimeoutMs: uint32,
      nodeId: text,
      serverName: text,
      serverVersion: text,
      clusterId: text,
    }),
    of(Opcode.ping, { type: fc.constant('pong' as const), payload: value }),
    of(Opcode.get, { type: fc.constant('value' as const), value }),
    of(Opcode.get, { type: fc.constant('absent' as const) }),
    of(Opcode.getEntry, {
      type: fc.constant('entry' as const),
      value,
      expiryMs: uint53,
      version: fc.option(bytes(16, 16), { nil: undefined }),
    }),
    of(Opcode.getEntry, { type: fc.constant('absent' as const) }),
    of(Opcode.getMany, {
      type: fc.constant('values' as const),
      values: fc.array(fc.option(value, { nil: undefined }), { maxLength: 20 }),
    }),
    fc
      .constantFrom(Opcode.put, Opcode.delete, Opcode.batch, Opcode.scanClose, Opcode.cancel)
      .map(opcode => ({ opcode, response: { type: 'done' as const } })),
    fc
      .tuple(fc.constantFrom(Opcode.scanOpen, Opcode.scanNext), page)
      .map(([opcode, answer]) => ({ opcode, response: answer })),
    of(Opcode.count, { type: fc.constant('count' as const), count: uint53 }),
    of(Opcode.stats, { type: fc.constant('stats' as const), json: text }),
    of(Opcode.ringMap, { type: fc.constant('ring' as const), ring: value }),
    of(Opcode.goaway, {
      type: fc.constant('goaway' as const),
      reason: fc.integer({ min: 0, max: 255 }),
      graceMs: uint32,
      message: text,
    }),
    fc
      .tuple(
        fc.constantFrom(...Object.values(Opcode)),
        fc.constantFrom(...errorStatuses),
        errorBody,
      )
      .map(([opcode, status, body]) => ({
        opcode,
        response: { type: 'error' as const, status, ...body },
      })),
  )

function of<T extends Response>(
  opcode: number,
  fields: { [Name in keyof T]: fc.Arbitrary<T[Name]> },
): fc.Arbitrary<{ readonly opcode: number; readonly response: Response }> {
  return record(fields).map(answer => ({ opcode, response: answer as Response }))
}
