// Goal: whatever an HTTP client sends, the server stands, good clients beside it notice nothing,
// and nothing of it is kept.
// Method: seeded hostile conversations over the engine; then over a handler with a bug, which must
// be seen. The long form is `npm run test:fuzz -- --door http`.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { engineTarget, memoryTarget } from '../support/fuzz-target.ts'
import { fuzzHttp } from '../support/http-fuzz.ts'
import { printSeed } from '../support/seed.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

test('300 hostile conversations beside good clients', async t => {
  const target = await engineTarget(join(temporaryDirectory(t), 'data'))
  const report = await fuzzHttp(printSeed(t), 300, target)
  t.diagnostic(JSON.stringify(report))
  assert.ok(report.goodRequests > 0)
  assert.ok((report.requests['other'] ?? 0) > 0)
  assert.ok((report.errors['HTTP_BAD_REQUEST'] ?? 0) > 3)
})

test('a bug of the handler is seen', async t => {
  const target = memoryTarget()
  const { handler } = target
  const get = handler.get.bind(handler)
  const put = handler.put.bind(handler)
  // Any key but the good clients' own: of all these conversations, surely some have one.
  const check = (key: Uint8Array): void => {
    if (!Buffer.from(key).toString().startsWith('good:')) throw new TypeError('planted')
  }
  Object.assign(handler, {
    get: (...[key, context]: Parameters<typeof get>) => {
      check(key)
      return get(key, context)
    },
    put: (...[operation, context]: Parameters<typeof put>) => {
      check(operation.key)
      return put(operation, context)
    },
    delete: check,
  })
  await assert.rejects(fuzzHttp(printSeed(t), 300, target), /planted/)
})
