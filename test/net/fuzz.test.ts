// Goal: whatever a client sends, the server stands, the other clients notice nothing, and nothing
// of it is kept.
// Method: seeded hostile conversations of every kind against a live server with good clients beside
// them. The long form, 100,000 frames, is `npm run test:fuzz`.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzzServer } from '../support/frame-fuzz.ts'
import { printSeed } from '../support/seed.ts'

test('3,000 hostile frames beside good clients', async t => {
  const report = await fuzzServer(printSeed(t), 3000)
  t.diagnostic(JSON.stringify(report))
  assert.ok(report.frames >= 3000)
  assert.ok(report.goodRequests > 0)
  assert.ok((report.errors['KV_PROTOCOL'] ?? 0) > 50, 'the hostile ones were understood as such')
})
