/** What dashboards are made of: figures, events, ownership, and the replicas of one key. */
import { UnavailableError } from '../../errors.ts'
import type { HttpCall } from './http-call.ts'
import { JSON_TYPE } from './http-error.ts'
import { keyIn } from './kv-routes.ts'
import { bad, Query, type Target } from './request-target.ts'

export const TRACE_PATH = '/v1/trace/'

/** GET /v1/stats */
export function stats(call: HttpCall, { query }: Target): void {
  const isHistory = new Query(query, ['history']).flag('history')
  call.answer(call.context.board.read(isHistory, call), text => replyText(call, text))
}

/** GET /v1/events?after= */
export function events(call: HttpCall, { query }: Target): void {
  call.context.handler.checkMonitor?.(call)
  const after = new Query(query, ['after']).text('after') ?? '0'
  if (!/^\d{1,15}$/.test(after)) throw bad('after is the sequence of an event, a whole number')
  replyText(call, `${call.context.events.after(Number(after))}\n`)
}

/** GET /v1/ring */
export function ring(call: HttpCall, { query }: Target): void {
  new Query(query, [])
  const { handler } = call.context
  if (handler.ownership === undefined) throw new UnavailableError('this server knows no ring')
  call.answer(handler.ownership(call), ownership => call.json(200, ownership))
}

/** GET /v1/trace/{key}: what `kvcli trace get` shows. */
export function trace(call: HttpCall, { path, query }: Target): void {
  const key = keyIn(path, TRACE_PATH)
  const timeoutMs = new Query(query, ['timeout']).duration('timeout')
  if (timeoutMs !== undefined) call.deadlineMs = call.receivedMs + timeoutMs
  call.admit()
  const { handler } = call.context
  if (handler.admin === undefined) throw new UnavailableError('this server knows no replicas')
  const command = { command: 'trace', key: key.toString('base64') }
  call.answer(handler.admin(command, call), found => call.json(200, found))
}

function replyText(call: HttpCall, text: string): void {
  const headers = ['Content-Type', JSON_TYPE, 'Cache-Control', 'no-store']
  call.reply(200, headers, Buffer.from(text))
}
