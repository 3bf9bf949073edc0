// Goal: whatever other machines send to the port for nodes, a node stands, serves the good ones in
// time, holds no more than its limits say, and keeps nothing of who is gone.
// Method: seeded hostile conversations, with and without the secret, dialling and dialled, against
// two good nodes; then the same against planted bugs, each of which must be caught.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { GullibleSecret } from '../support/hostile-node.ts'
import { fuzzPeers, type PeerFuzzPlant } from '../support/peer-fuzz.ts'
import { printSeed } from '../support/seed.ts'

test('150 hostile conversations beside good nodes', async t => {
  const report = await fuzzPeers(printSeed(t), 150)
  t.diagnostic(JSON.stringify(report))
  assert.ok(report.frames > 1000)
  assert.ok(report.goodRequests >= 300)
  assert.ok(report.outsiders > 30)
  assert.ok(report.insiders > 3)
})

describe('a planted bug is caught:', () => {
  const never = Number.MAX_SAFE_INTEGER
  const plants: [string, PeerFuzzPlant, RegExp][] = [
    [
      'any proof will do',
      { secretOf: secret => new GullibleSecret(secret) },
      /a handler ran for|an outsider|it met a bug/,
    ],
    ['strangers without end', { limits: { strangersMax: never } }, /\d+ strangers are held/],
    [
      'strangers who may take any time',
      { limits: { handshakeTimeoutMs: never } },
      /is kept of who is gone/,
    ],
    [
      'answers to who does not read',
      { limits: { answersPauseBytes: never, answersBytesMax: never, inFlightMax: never } },
      /bytes of answers are held|requests being answered are held/,
    ],
    [
      'requests without end',
      { limits: { inFlightMax: never } },
      /requests being answered are held/,
    ],
    [
      'frames of any size',
      { limits: { frameSizeMax: 2 ** 32, receiveBytesMax: never } },
      /are held|is kept/,
    ],
    ['silence for ever', { limits: { silentMaxMs: never / 4 } }, /is kept of who is gone/],
  ]
  for (const [name, plant, expected] of plants) {
    test(name, async t => {
      const seed = printSeed(t)
      await assert.rejects(fuzzPeers(seed, 60, plant), (error: Error) => {
        assert.match(error.message, expected)
        return true
      })
    })
  }
})
