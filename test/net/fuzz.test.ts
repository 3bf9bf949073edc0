// Goal: whatever a client sends, the server stands, the other clients notice nothing, and nothing
// of it is kept.
// Method: seeded hostile conversations of every kind against a live server with good clients beside
// them; then the same against servers with a planted bug, which must be caught. The long form,
// 100,000 frames, is `npm run test:fuzz`.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { fuzzServer } from '../support/frame-fuzz.ts'
import { closesOthers, leaks, mixedIds, type Plant } from '../support/fuzz-plants.ts'
import { engineTarget, type FuzzTarget, memoryTarget } from '../support/fuzz-target.ts'
import { printSeed } from '../support/seed.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const targetOnDisk = (t: TestContext) => engineTarget(join(temporaryDirectory(t), 'data'))

const targets: [string, (t: TestContext) => Promise<FuzzTarget>][] = [
  ['a map', async () => memoryTarget()],
  ['the engine', targetOnDisk],
]

for (const [name, targetOf] of targets) {
  test(`3,000 hostile frames beside good clients, over ${name}`, async t => {
    const report = await fuzzServer(printSeed(t), 3000, await targetOf(t))
    t.diagnostic(JSON.stringify(report))
    assert.ok(report.frames >= 3000)
    assert.ok(report.goodRequests > 0)
    assert.ok((report.errors['KV_PROTOCOL'] ?? 0) > 50, 'the hostile ones were understood as such')
  })
}

describe('a planted bug is caught:', () => {
  const plants: [string, () => Plant, RegExp][] = [
    ['ids that are mixed up', mixedIds, /the answer to another request came/],
    ["a client that closes another's connection", closesOthers, /KV_UNAVAILABLE|lost its/],
    ['8 KiB that are lost with every frame', () => leaks(8 << 10), /memory grew by/],
  ]
  for (const [name, plantOf, expected] of plants) {
    test(name, async t => {
      const fuzzing = fuzzServer(printSeed(t), 3000, await targetOnDisk(t), plantOf())
      await assert.rejects(fuzzing, (error: Error & { code?: string }) => {
        assert.match(`${error.code}: ${error.message}`, expected)
        return true
      })
    })
  }
})
