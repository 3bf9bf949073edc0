/** GET /v1/openapi.json: what this door offers, for programs. */
import type { HttpCall } from './http-call.ts'
import { openapiDocument } from './openapi.ts'
import { Query, type Target } from './request-target.ts'

export function openapi(call: HttpCall, { query }: Target): void {
  new Query(query, [])
  call.json(200, openapiDocument(call.context.identity.serverVersion))
}
