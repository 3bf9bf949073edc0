// Goal: top shows what a server says of itself and its cluster, with rates between two looks of one
// life of one node and no others; and stays while the server is away.
// Method: the whole program over a store whose figures the test changes, on a screen and in a pipe.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { type TopFigures, topFigures } from '../../src/cli/top-figures.ts'
import { UnavailableError } from '../../src/errors.ts'
import { CliHarness, until } from '../support/cli-harness.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { VirtualScreen } from '../support/virtual-screen.ts'

const SELF = 'aa'.repeat(16)
const OTHER = 'bb'.repeat(16)

function statsOf(uptimeMs: number, bytesWritten = 0, id = SELF) {
  return {
    node: { id, uptimeMs },
    net: { connections: 3, inFlight: 1, errors: { KV_TIMEOUT: bytesWritten / 1024 } },
    load: {
      reads: 1234,
      writes: 56,
      readP50Ms: 0.1,
      readP99Ms: 2,
      writeP50Ms: null,
      writeP99Ms: null,
    },
    engine: {
      memory: { total: 1024 * 1024, budget: 4 * 1024 * 1024 },
      tableBytes: 2048,
      walBytes: 1024,
      compactions: { running: 1, debt: 4096, bytesRead: 0, bytesWritten },
      stalls: { count: 2, totalMs: 1500 },
    },
  }
}

const member = { isAsked: false, state: 'normal', liveness: 'up', owedWrites: 0 }
const STATUS = {
  health: 'yellow',
  members: [
    {
      ...{ ...member, nodeId: SELF, isAsked: true, clientAddress: 'a:1' },
      states: { readsPerSecond: 1234, writesPerSecond: 56, p99Us: 2000 },
    },
    {
      ...{ ...member, nodeId: OTHER, liveness: 'down', clientAddress: 'b:1', owedWrites: 7 },
      states: {},
    },
  ],
}

function storeWith(stats: object, status: object | undefined = STATUS): MemoryStore {
  const store = new MemoryStore()
  store.statsKept = { ...stats }
  store.adminKept['status'] = status === undefined ? [] : [{ ...status }]
  return store
}

describe('top', () => {
  test('is one screen, drawn anew, that outlives a server that goes away', async () => {
    const screen = new VirtualScreen(90)
    const store = storeWith(statsOf(1000))
    const harness = new CliHarness({ argv: 'top', store, stdout: screen })
    let code: ExitCode | undefined
    void harness.run().then(result => {
      code = result
    })
    await harness.clock.advanceAsync(10, 20)
    store.statsKept = statsOf(2000, 10_240)
    await harness.clock.advanceAsync(1000, 20)
    const lines = screen.lines.map(line => stripVTControlCharacters(line))
    assert.match(lines[0]!, /^kv:\/\/127\.0\.0\.1:7700 .* YELLOW {3}2 nodes {3}up 2\.00 s$/)
    assert.deepEqual(lines.slice(2), [
      '               per second       p50       p99',
      'reads               1,234    100 us   2.00 ms',
      'writes                 56         -         -',
      '',
      'connections   3, 1 requests under way',
      'errors        10 a second',
      'memory        1.00 MiB of 4.00 MiB',
      'on disk       2.00 KiB in tables, 1.00 KiB of log',
      'compaction    1 running, 4.00 KiB to do, reads 0 B/s, writes 10.0 KiB/s',
      'stalls        2, 1.50 s in all',
      'hints         7 writes owed to nodes',
      '',
      '   node      address  seen  reads/s  writes/s      p99  owed',
      '*  aaaaaaaa  a:1      up      1,234        56  2.00 ms',
      '   bbbbbbbb  b:1      down        -         -        -     7',
    ])
    store.failNext = new UnavailableError('connection refused')
    await harness.clock.advanceAsync(1000, 20)
    assert.equal(screen.lines[1], 'no answer: connection refused')
    await harness.clock.advanceAsync(1000, 20)
    assert.equal(screen.lines[1], '')
    harness.interrupt()
    await until(
      () => code !== undefined,
      () => screen.lines.join('\n'),
    )
    assert.equal(code, ExitCode.ok)
  })

  test('is a line each time in a pipe, and JSON for programs', async () => {
    const line = new CliHarness({ argv: 'top -n 1', store: storeWith(statsOf(1000)) })
    assert.equal(await line.run(), ExitCode.ok)
    assert.equal(
      line.out,
      '2026-01-01T00:00:00.000Z  YELLOW  reads 1,234/s p50 100 us p99 2.00 ms  ' +
        'writes 56/s p50 - p99 -  memory 1.00 MiB  compaction 1, 4.00 KiB to do  owed 7\n',
    )
    const json = new CliHarness({ argv: 'top -n 1 --json', store: storeWith(statsOf(1000)) })
    await json.run()
    const [figures] = json.json as [TopFigures]
    assert.deepEqual([figures.node, figures.health, figures.owedWrites], [SELF, 'yellow', 7])
    assert.deepEqual(figures.reads, { perSecond: 1234, p50Ms: 0.1, p99Ms: 2 })
  })

  test('shows what there is of a server that knows no cluster and no load', async () => {
    const store = storeWith({ node: { id: SELF } }, undefined)
    store.adminKept = {}
    const harness = new CliHarness({ argv: 'top -n 1', store })
    assert.equal(await harness.run(), ExitCode.ok)
    assert.match(harness.out, /Z {2}- {2}reads -\/s p50 - p99 - {2}writes -\/s p50 - p99 -\n$/)
  })

  test('of a server that was never there fails', async () => {
    const store = storeWith(statsOf(1000))
    store.failNext = new UnavailableError('gone')
    const harness = new CliHarness({ argv: 'top', store })
    assert.equal(await harness.run(), ExitCode.unreachable)
  })
})

test('rates are those between two looks at one life of one node', () => {
  const look = (monotonicMs: number, stats: object) => {
    return { monotonicMs, atMs: 0, stats: { ...stats }, cluster: undefined }
  }
  const rateBetween = (a: object, b: object): number | null | undefined => {
    const { compaction, errorsPerSecond } = topFigures(look(3000, b), look(1000, a))
    assert.equal(compaction?.writtenBytesPerSecond === null, errorsPerSecond === null)
    return compaction?.writtenBytesPerSecond
  }
  assert.equal(rateBetween(statsOf(1000), statsOf(3000, 2048)), 1024)
  assert.equal(rateBetween(statsOf(3000), statsOf(1000, 2048)), null)
  assert.equal(rateBetween(statsOf(1000), statsOf(3000, 2048, OTHER)), null)
  assert.equal(topFigures(look(0, statsOf(1)), undefined).errorsPerSecond, null)
})
