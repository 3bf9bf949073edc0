// Goal: `kvcli trace get`, `kvcli get --meta` and `kvcli cluster repair` show what servers answer,
// to people and to programs, and end with a code that a script can go by.
// Method: the whole program over a store that gives the answers of a cluster.
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, test } from 'node:test'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { CapturedOutput, CliHarness, runCli, until } from '../support/cli-harness.ts'
import { MemoryStore } from '../support/memory-store.ts'

const VERSION = { timeMs: 1_767_225_600_000, counter: 2, writer: 'ab'.repeat(8) }
const OLDER = { ...VERSION, counter: 1 }
const A = {
  node: 'a'.repeat(32),
  state: 'value',
  tookMs: 0.2,
  version: OLDER,
  size: 3,
  expiryMs: 0,
}
const B = { ...A, node: 'b'.repeat(32), tookMs: 1.5, version: VERSION, size: 4, hash: '01' }
const C = { node: 'c'.repeat(32), state: 'failed', tookMs: 5000, error: 'no link' }

function storeWith(name: string, ...answers: Readonly<Record<string, unknown>>[]): MemoryStore {
  return Object.assign(new MemoryStore(), { adminKept: { [name]: answers } })
}

describe('trace', () => {
  const differing = { partition: 17, epoch: 4, agreed: false, replicas: [A, B, C] }

  test('shows what each replica has, and fails when they differ', async () => {
    const store = storeWith('trace', differing)
    const { out, code } = await runCli('trace get key', { store })
    assert.equal(code, ExitCode.failed)
    assert.deepEqual(out.trimEnd().split('\n'), [
      'key is in partition 17 of epoch 4',
      'the replicas differ',
      'replica   has        version                      written by  size     took',
      'aaaaaaaa  value      2026-01-01T00:00:00.000Z +1  abababab     3 B   200 us',
      'bbbbbbbb  value      2026-01-01T00:00:00.000Z +2  abababab     4 B  1.50 ms',
      'cccccccc  no answer                                                  5.00 s',
      '  -> cccccccc: no link',
    ])
    assert.equal(store.calls[0]!.options['key'], Buffer.from('key').toString('base64'))
  })

  for (const [replicas, verdict] of [
    [[A, A, C], '1 of 3 replicas does not answer, the others hold the same'],
    [[A, C, C], '2 of 3 replicas do not answer, one does'],
    [[C, C, C], 'no replica answers'],
  ] as const) {
    test(`says so when ${verdict}`, async () => {
      const store = storeWith('trace', { ...differing, replicas })
      const { out, code } = await runCli('trace get key', { store })
      assert.equal(out.split('\n')[1], verdict)
      assert.equal(code, ExitCode.failed)
    })
  }

  test('is an object for programs', async () => {
    const agreed = { ...differing, agreed: true, replicas: [A, A] }
    const { out, code } = await runCli('trace get key --json', {
      store: storeWith('trace', agreed),
    })
    assert.equal(code, ExitCode.ok)
    assert.deepEqual(JSON.parse(out), { key: 'key', ...agreed })
  })

  test('get --meta tells of the newest copy', async () => {
    const store = storeWith('trace', differing)
    const { out, code } = await runCli('get key --meta', { store })
    assert.equal(code, ExitCode.ok)
    assert.match(out, /state +value\n +version +2026-01-01T00:00:00.000Z \+2 by/)
    assert.match(out, /size +4 B\n +replicas +the replicas differ/)
    const absent = { ...differing, agreed: true, replicas: [{ ...C, state: 'absent' }] }
    const none = await runCli('get key --meta --json', { store: storeWith('trace', absent) })
    assert.equal(none.code, ExitCode.failed)
    assert.equal((JSON.parse(none.out) as { found: boolean }).found, false)
  })
})

describe('cluster repair', () => {
  const done = { node: 'a', isRunning: false, compared: 64, total: 64, divergent: 5, failures: [] }

  test('shows one line of how it goes where somebody looks, and none of it elsewhere', async () => {
    const running = { ...done, isRunning: true, divergent: 0 }
    const answers = [16, 48].map(compared => ({ members: [{ ...running, compared }] }))
    const run = async (stderr: CapturedOutput): Promise<CliHarness> => {
      const store = storeWith('repair', ...answers, { members: [done] })
      const harness = new CliHarness({ argv: 'cluster repair', store, stderr })
      const running = harness.run()
      for (let poll = 0; poll < answers.length; poll++) {
        await until(
          () => harness.clock.timerCount > 0,
          () => harness.err,
        )
        harness.clock.advance(500)
      }
      assert.equal(await running, ExitCode.ok)
      return harness
    }
    const watched = await run(new CapturedOutput(new PassThrough().resume()))
    assert.match(watched.err, /^\rrepairing {2}25 % .*\rrepairing {2}75 %[^\n]*$/)
    assert.equal((await run(new CapturedOutput())).err, '')
  })

  test('says what differed, and who could not be compared', async () => {
    const store = storeWith('repair', { members: [done] })
    const { out, code } = await runCli('cluster repair', { store })
    assert.equal(code, ExitCode.ok)
    assert.match(out, /^a +5 +holds what the others hold$/m)
    assert.equal(store.calls[0]!.options['action'], 'start')
    const failures = [{ peer: 'b', reason: 'cannot be reached' }]
    const failed = storeWith('repair', { members: [done, { ...done, node: 'c', failures }] })
    const result = await runCli('cluster repair', { store: failed })
    assert.equal(result.code, ExitCode.failed)
    assert.match(result.out, /^c +5 +not compared with b\n {2}-> c, b: cannot be reached$/m)
    const away = { ...done, node: 'd', error: 'no link to d' }
    const unasked = await runCli('cluster repair', {
      store: storeWith('repair', { members: [away] }),
    })
    assert.equal(unasked.code, ExitCode.failed)
    assert.match(unasked.out, /^d +5 +cannot be asked\n {2}-> d: no link to d$/m)
  })
})
