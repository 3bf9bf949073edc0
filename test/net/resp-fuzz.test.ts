// Goal: whatever a Redis client sends, the server stands, good clients beside it notice nothing,
// and nothing of it is kept.
// Method: seeded hostile conversations over the engine; then over a handler with a bug, which must
// be seen. The long form is `npm run test:fuzz -- --door resp`.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { engineTarget, memoryTarget } from '../support/fuzz-target.ts'
import { fuzzResp } from '../support/resp-fuzz.ts'
import { printSeed } from '../support/seed.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

test('300 hostile conversations beside good clients', async t => {
  const target = await engineTarget(join(temporaryDirectory(t), 'data'))
  const report = await fuzzResp(printSeed(t), 300, target)
  t.diagnostic(JSON.stringify(report))
  assert.ok(report.goodCommands > 0)
  assert.ok(report.commands > 500)
})

test('a bug of the handler is seen', async t => {
  const target = memoryTarget()
  const { handler } = target
  const put = handler.put.bind(handler)
  // Any key but the good clients' own: among 120 conversations, surely some write one.
  handler.put = (operation, context) => {
    const key = Buffer.from(operation.key).toString()
    if (!key.startsWith('good:')) throw new TypeError('planted')
    return put(operation, context)
  }
  await assert.rejects(fuzzResp(printSeed(t), 120, target), /planted/)
})
