/**
 * POST /v1/batch: operations that happen all or not at all, as lines of JSON or as one array.
 *
 *   { "type": "put" | "del", "key" | "key64": …, "value" | "value64": …, "ttl": "60s"? }
 *
 * A line without a type puts, so what a scan gives can be posted as it is. An array is parsed at
 * once, so it is short; lines are parsed one by one, in turns with whatever else there is to do.
 */
import { AbortedError } from '../../errors.ts'
import { SERVER_KEY_SIZE_MAX } from '../../key-value-store.ts'
import { FRAME_OVERHEAD_MAX } from '../limits.ts'
import type { HandlerOperation } from '../request-handler.ts'
import type { HttpCall } from './http-call.ts'
import { HttpError } from './http-error.ts'
import { writeTerms } from './kv-routes.ts'
import { type BodyLimit, withBody } from './request-body.ts'
import { bad, parseDuration, Query, shown, type Target } from './request-target.ts'
import { LINES_TYPE } from './scan-route.ts'

const JSON_MEDIA = 'application/json'
/** Of an array, and of a line: what is parsed without a pause. */
export const JSON_AT_ONCE_MAX = 64 * 1024
export const LINE_SIZE_MAX = 1024 * 1024
const NEWLINE = 0x0a
const PARAMETERS = ['consistency', 'durability', 'timeout']
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/
/** With the u flag, surrogates that are part of a pair do not match. */
const LONE_SURROGATE = /\p{Surrogate}/u
const MEMBERS = ['type', 'key', 'key64', 'value', 'value64', 'ttl']

export function postBatch(call: HttpCall, { query }: Target): void {
  writeTerms(call, new Query(query, PARAMETERS))
  const isLines = mediaType(call) === LINES_TYPE
  const { frameSizeMax } = call.context.limits
  const limit: BodyLimit = isLines
    ? { sizeMax: frameSizeMax - FRAME_OVERHEAD_MAX, advice: 'send several batches' }
    : { sizeMax: JSON_AT_ONCE_MAX, advice: `send lines (Content-Type: ${LINES_TYPE})` }
  withBody(call, limit, body => {
    call.size = body.length
    call.admit()
    const done = isLines ? runLines(call, body) : runArray(call, body)
    call.answer(done, operations => call.json(200, { operations }))
  })
}

/** A form of a web page elsewhere can post text and forms unasked, these two it cannot. */
function mediaType({ fields }: HttpCall): string {
  const type = (fields.contentType ?? '').split(';', 1)[0]!.trim().toLowerCase()
  if (type === LINES_TYPE || type === JSON_MEDIA) return type
  throw new HttpError(
    'HTTP_UNSUPPORTED_MEDIA_TYPE',
    `a batch is ${LINES_TYPE} or ${JSON_MEDIA}, not '${shown(type)}': say so in Content-Type`,
    ['Accept', `${LINES_TYPE}, ${JSON_MEDIA}`],
  )
}

async function runArray(call: HttpCall, body: Buffer): Promise<number> {
  const items = parseJson(body, 'the body')
  if (!Array.isArray(items)) throw bad('the body is no array of operations')
  checkCount(call, items.length)
  const operations = items.map((item, at) => operationOf(call, item, `operation ${at + 1}`))
  return await run(call, operations)
}

async function runLines(call: HttpCall, body: Buffer): Promise<number> {
  const { turns } = call.context
  const operations: HandlerOperation[] = []
  let pause = turns.begin(call.connection)
  for (let at = 0, line = 1; at < body.length; line++) {
    if (pause !== undefined) await pause
    if (call.cancelled) throw new AbortedError('nobody waits for this batch any more')
    const newline = body.indexOf(NEWLINE, at)
    const end = newline < 0 ? body.length : newline
    if (end - at > LINE_SIZE_MAX) {
      throw bad(`line ${line} has more than ${LINE_SIZE_MAX} bytes: store large values with PUT`)
    }
    const bytes = body.subarray(at, end)
    if (!isBlank(bytes)) {
      checkCount(call, operations.length + 1)
      operations.push(operationOf(call, parseJson(bytes, `line ${line}`), `line ${line}`))
    }
    at = end + 1
    pause = turns.isOver ? turns.pause(call.connection) : undefined
  }
  return await run(call, operations)
}

async function run(call: HttpCall, operations: readonly HandlerOperation[]): Promise<number> {
  if (operations.length > 0) await call.context.handler.batch(operations, call)
  return operations.length
}

function checkCount(call: HttpCall, count: number): void {
  const { batchOperationsMax } = call.context.limits
  if (count <= batchOperationsMax) return
  throw bad(`a batch has at most ${batchOperationsMax} operations: send several`)
}

function isBlank(line: Buffer): boolean {
  return line.every(byte => byte === 0x20 || byte === 0x0d || byte === 0x09)
}

function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    const why = error instanceof SyntaxError ? error.message : String(error)
    throw bad(`${what} is no JSON: ${shown(why)}`)
  }
}

function operationOf(call: HttpCall, item: unknown, where: string): HandlerOperation {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    throw bad(`${where} is no object`)
  }
  const members = item as Readonly<Record<string, unknown>>
  for (const name of Object.keys(members)) {
    if (MEMBERS.includes(name)) continue
    throw bad(`${where} has '${shown(name)}': an operation has ${MEMBERS.join(', ')}`)
  }
  const { type = 'put', ttl } = members
  const key = bytesOf(members, 'key', where)
  if (key.length < 1 || key.length > SERVER_KEY_SIZE_MAX) {
    throw bad(`${where}: a key has 1 to ${SERVER_KEY_SIZE_MAX} bytes, got ${key.length}`)
  }
  if (type === 'del') return deletionOf(members, key, where)
  if (type !== 'put') throw bad(`${where} has the type '${shown(String(type))}': put or del`)
  const value = bytesOf(members, 'value', where)
  const { valueSizeMax } = call.context.limits
  if (value.length > valueSizeMax) {
    throw bad(`${where}: the value has ${value.length} bytes, this server takes ${valueSizeMax}`)
  }
  if (ttl !== undefined && typeof ttl !== 'string') throw bad(`${where}: ttl is text such as "60s"`)
  return { type, key, value, ttlMs: ttl === undefined ? 0 : parseDuration('ttl', ttl) }
}

function deletionOf(
  members: Readonly<Record<string, unknown>>,
  key: Buffer,
  where: string,
): HandlerOperation {
  for (const name of ['value', 'value64', 'ttl']) {
    if (members[name] !== undefined) throw bad(`${where}: a del has no ${name}`)
  }
  return { type: 'del', key }
}

/** Of `name` as text, or of `name64` as base64: one of the two. */
function bytesOf(members: Readonly<Record<string, unknown>>, name: string, where: string): Buffer {
  const text = members[name]
  const digits = members[`${name}64`]
  if ((text === undefined) === (digits === undefined)) {
    throw bad(`${where} has one of ${name} and ${name}64`)
  }
  if (typeof (text ?? digits) !== 'string') throw bad(`${where}: ${name} is no text`)
  if (typeof text === 'string') {
    // What stands for no character would be stored as another.
    if (!LONE_SURROGATE.test(text)) return Buffer.from(text, 'utf8')
    throw bad(`${where}: ${name} is not UTF-8; give ${name}64`)
  }
  const base64 = String(digits)
  if (BASE64.test(base64)) return Buffer.from(base64, 'base64')
  throw bad(`${where}: ${name}64 is no base64`)
}
