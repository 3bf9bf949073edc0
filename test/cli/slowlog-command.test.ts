// Goal: slowlog shows what a node kept of what took long, to people and to programs.
// Method: the whole program over a store with an answer of the test's.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { runCli } from '../support/cli-harness.ts'
import { MemoryStore } from '../support/memory-store.ts'

const ANSWER = {
  node: 'n1',
  fromMs: 100,
  total: 1234,
  operations: [
    {
      ...{ sequence: 1234, atMs: 1_767_225_600_000, tookMs: 250, door: 'redis', operation: 'set' },
      ...{ key: Buffer.from('user:1').toString('base64'), address: '10.0.0.9:5', user: 'ada' },
    },
    {
      ...{ sequence: 1233, atMs: 1_767_225_599_000, tookMs: 1500, door: 'binary' },
      ...{ operation: 'count', address: '10.0.0.9:6', user: 'default' },
    },
  ],
}

function store(): MemoryStore {
  const made = new MemoryStore()
  made.adminKept['slowlog'] = [ANSWER]
  return made
}

describe('slowlog', () => {
  test('for people', async () => {
    const run = await runCli('slowlog', { store: store() })
    assert.deepEqual(run.out.trimEnd().split('\n'), [
      '1,234 took 100 ms or longer since the start',
      'answered                    took  operation  key     door    from        user',
      '2026-01-01T00:00:00.000Z  250 ms  set        user:1  redis   10.0.0.9:5  ada',
      '2025-12-31T23:59:59.000Z  1.50 s  count              binary  10.0.0.9:6  default',
    ])
    assert.equal(run.code, ExitCode.ok)
    assert.equal(run.store.calls[0]?.options['count'], 20)
  })

  test('for programs', async () => {
    const { json, store: asked } = await runCli('slowlog -n 5 --json', { store: store() })
    const [{ operations, ...rest }] = json as [{ operations: Record<string, unknown>[] }]
    assert.deepEqual(rest, { node: 'n1', fromMs: 100, total: 1234 })
    assert.deepEqual(
      operations.map(({ key, tookMs }) => [key, tookMs]),
      [
        ['user:1', 250],
        [undefined, 1500],
      ],
    )
    assert.equal(asked.calls[0]?.options['count'], 5)
  })

  test('of more than a node keeps is refused', async () => {
    assert.equal((await runCli('slowlog -n 257')).code, ExitCode.usage)
  })
})
