/**
 * One key: GET, HEAD, PUT and DELETE of /v1/kv/{key}, with bodies as they are.
 *
 * The path of a GET that finds its value in memory is the hot one: no promise, no closure that
 * outlives it, one write of the head and one of the value.
 */
import { CONSISTENCIES, DURABILITIES, SERVER_KEY_SIZE_MAX } from '../../key-value-store.ts'
import type {
  HandlerDecision,
  HandlerEntry,
  HandlerOperation,
  MaybePromise,
} from '../request-handler.ts'
import type { HttpCall } from './http-call.ts'
import { HttpError } from './http-error.ts'
import { withBody } from './request-body.ts'
import { hasStrongTag, hasTag } from './request-fields.ts'
import { bad, decodeBytes, Query, type Target } from './request-target.ts'

export const KEY_PATH = '/v1/kv/'

const READ_PARAMETERS = ['consistency', 'timeout']
const DELETE_PARAMETERS = ['consistency', 'durability', 'timeout']
const PUT_PARAMETERS = ['consistency', 'durability', 'ttl', 'timeout']
const EXPIRY_HEADER = 'Duramen-Expires-Ms'
const NOTHING = Buffer.alloc(0)

/** GET and HEAD. */
export function getKey(call: HttpCall, { path, query }: Target): void {
  const key = keyIn(path)
  call.key = key
  if (query !== '') readTerms(call, new Query(query, READ_PARAMETERS))
  call.admit()
  const entry = readEntry(call, key)
  if (entry instanceof Promise) call.answer(entry, late => replyEntry(call, late))
  else replyEntry(call, entry)
}

function readEntry(call: HttpCall, key: Uint8Array): MaybePromise<HandlerEntry | undefined> {
  const { handler } = call.context
  if (handler.entry !== undefined) return handler.entry(key, call)
  const value = handler.get(key, call)
  return value instanceof Promise ? value.then(entryOf) : entryOf(value)
}

function entryOf(value: Uint8Array | undefined): HandlerEntry | undefined {
  return value && { value, expiryMs: 0 }
}

function replyEntry(call: HttpCall, entry: HandlerEntry | undefined): void {
  if (entry === undefined) throw new HttpError('HTTP_NO_SUCH_KEY', 'there is no such key')
  const { value, version, expiryMs } = entry
  const headers = ['Content-Type', 'application/octet-stream', 'X-Content-Type-Options', 'nosniff']
  if (version !== undefined) {
    const tag = tagOf(version)
    headers.push('ETag', tag)
    const { ifNoneMatch, ifMatch } = call.fields
    if (ifMatch !== undefined && !hasStrongTag(ifMatch, tag)) throw hasChanged(tag)
    if (ifNoneMatch !== undefined && hasTag(ifNoneMatch, tag)) {
      call.reply(304, headers)
      return
    }
  }
  if (expiryMs !== 0) headers.push(EXPIRY_HEADER, String(expiryMs))
  call.connection.checkRoom(value.length)
  call.reply(200, headers, value)
}

/** The version in hex: 12 digits of milliseconds, 4 of a counter, 16 of the writer. */
function tagOf(version: Uint8Array): string {
  const { buffer, byteOffset, length } = version
  return `"${Buffer.from(buffer as ArrayBuffer, byteOffset, length).toString('hex')}"`
}

export function putKey(call: HttpCall, { path, query }: Target): void {
  const key = keyIn(path)
  call.key = key
  const parameters = new Query(query, PUT_PARAMETERS)
  writeTerms(call, parameters)
  const ttlMs = parameters.duration('ttl') ?? 0
  // Taken for the whole it would put an end to the rest (RFC 9110, 14.5).
  if (call.fields.isPart) throw bad('a value is written whole: PUT it without Content-Range')
  checkConditions(call, key)
  const { valueSizeMax } = call.context.limits
  const advice = 'store it in parts, or raise the limit of the server (--max-value-size)'
  withBody(call, { sizeMax: valueSizeMax, advice }, value => {
    call.size = key.length + value.length
    write(call, { type: 'put', key, value, ttlMs })
  })
}

export function deleteKey(call: HttpCall, { path, query }: Target): void {
  const key = keyIn(path)
  call.key = key
  writeTerms(call, new Query(query, DELETE_PARAMETERS))
  checkConditions(call, key)
  call.size = key.length
  write(call, { type: 'del', key })
}

function write(call: HttpCall, operation: HandlerOperation): void {
  call.admit()
  const { handler } = call.context
  const headers: string[] = []
  // A deletion leaves nothing that a condition could name.
  if (operation.type === 'put') call.onVersion = version => tagWritten(headers, version)
  const { ifMatch, ifNoneMatch } = call.fields
  if (ifMatch !== undefined || ifNoneMatch !== undefined) {
    call.answer(writeIf(call, operation), () => call.reply(204, headers))
    return
  }
  const written =
    operation.type === 'put' ? handler.put(operation, call) : handler.delete(operation.key, call)
  call.answer(written, () => call.reply(204, headers))
}

/** The last version that the write was given counts. */
function tagWritten(headers: string[], version: Uint8Array): void {
  headers.splice(0, headers.length, 'ETag', tagOf(version))
}

/** Compares and writes with no other write of the key in between. */
async function writeIf(call: HttpCall, operation: HandlerOperation): Promise<void> {
  const { handler } = call.context
  if (handler.update === undefined) throw notOffered()
  const updated = await handler.update(
    [operation.key],
    ([entry]): HandlerDecision<void> => {
      checkEntryIs(call, entry)
      const isNothing = operation.type === 'del' && entry === undefined
      return { operations: isNothing ? [] : [operation], result: undefined }
    },
    call,
  )
  await updated.done
}

/** Throws HttpError, which rejects the write, when what is there is not what was expected. */
function checkEntryIs({ fields }: HttpCall, entry: HandlerEntry | undefined): void {
  const { ifMatch, ifNoneMatch } = fields
  const tag = entry === undefined ? undefined : tagOf(entry.version ?? NOTHING)
  if (ifMatch !== undefined && (tag === undefined || !hasStrongTag(ifMatch, tag))) {
    throw hasChanged(tag)
  }
  if (ifNoneMatch !== undefined && tag !== undefined && hasTag(ifNoneMatch, tag)) {
    throw hasChanged(tag)
  }
}

function hasChanged(tag: string | undefined): HttpError {
  const what = tag === undefined ? 'there is no such key' : 'the key has another version'
  const headers = tag === undefined ? [] : ['ETag', tag]
  return new HttpError('HTTP_PRECONDITION_FAILED', `${what}: read it again`, headers)
}

/** Before the body comes. Throws HttpError for conditions that cannot be kept here. */
function checkConditions(call: HttpCall, key: Uint8Array): void {
  const { ifMatch, ifNoneMatch } = call.fields
  if (ifMatch === undefined && ifNoneMatch === undefined) return
  const { handler } = call.context
  if (handler.canUpdate === true && handler.update !== undefined) return
  handler.checkKeys?.([key], 'update', call)
  throw notOffered()
}

function notOffered(): HttpError {
  return new HttpError(
    'HTTP_CONDITION_NOT_OFFERED',
    'writes with If-Match or If-None-Match are not offered by a cluster of several nodes: ' +
      'another node could write the key in between',
  )
}

/** The key that the path ends with. Throws HttpError for what is none. */
export function keyIn(path: string, before: string = KEY_PATH): Buffer {
  const key = decodeBytes(path.slice(before.length))
  if (key.length >= 1 && key.length <= SERVER_KEY_SIZE_MAX) return key
  throw bad(`a key has 1 to ${SERVER_KEY_SIZE_MAX} bytes, got ${key.length}`)
}

export function readTerms(call: HttpCall, query: Query): void {
  call.consistency = query.choice('consistency', CONSISTENCIES) ?? 'one'
  const timeoutMs = query.duration('timeout')
  if (timeoutMs === undefined) return
  call.deadlineMs = call.receivedMs + Math.min(timeoutMs, call.context.limits.budgetMaxMs)
}

export function writeTerms(call: HttpCall, query: Query): void {
  readTerms(call, query)
  call.durability = query.choice('durability', DURABILITIES)
  call.isWrite = true
}
