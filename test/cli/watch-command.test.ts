// Goal: watch shows each write once, by whichever replica it is heard of first, and says when a
// node is away, is back, or has a gap; and it stops when told.
// Method: the whole program against nodes whose answers the test gives one by one; the merge of
// replicas alone against a model, over random orders of delivery.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { WatchMerge } from '../../src/cli/watch-merge.ts'
import { beginJoin, finish, initRing, moveReads, type Ring } from '../../src/cluster/index.ts'
import {
  AbortedError,
  ChangesGoneError,
  PermissionError,
  UnavailableError,
} from '../../src/errors.ts'
import type { CallOptions } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { CliHarness, until } from '../support/cli-harness.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { printSeed } from '../support/seed.ts'

const WALL_MS = 1_767_225_600_000

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

function versionOf(timeMs: number, counter = 0): string {
  const version = Buffer.alloc(16)
  version.writeUIntBE(timeMs, 0, 6)
  version.writeUInt16BE(counter, 6)
  return version.toString('base64')
}

function put(key: string, value: string, timeMs = WALL_MS) {
  const version = versionOf(timeMs)
  return { type: 'put', key: base64(key), value: base64(value), valueBytes: value.length, version }
}

function del(key: string, timeMs: number) {
  return { type: 'del', key: base64(key), version: versionOf(timeMs) }
}

type Answer = readonly object[] | Error

/** A node that answers `changes` as soon as the test gives it something to say. */
class FedNode extends MemoryStore {
  readonly asked: Readonly<Record<string, unknown>>[] = []
  #after = 100
  readonly #answers: Answer[] = []
  #wake: (() => void) | undefined

  give(answer: Answer): void {
    this.#answers.push(answer)
    this.#wake?.()
  }

  override async admin(
    command: Readonly<Record<string, unknown>>,
    options: CallOptions = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    assert.equal(command['command'], 'changes')
    this.asked.push(command)
    while (this.#answers.length === 0) {
      if (options.signal?.aborted === true) throw new AbortedError('aborted')
      await new Promise<void>(resolve => {
        this.#wake = resolve
        options.signal?.addEventListener('abort', () => resolve())
      })
    }
    const answer = this.#answers.shift()!
    if (answer instanceof Error) throw answer
    this.#after += answer.length
    return { watch: 'w', after: this.#after, changes: answer }
  }
}

class Watching {
  readonly nodes: readonly FedNode[]
  readonly harness: CliHarness
  code: ExitCode | undefined

  constructor(argv: string, count: number) {
    this.nodes = Array.from({ length: count }, () => new FedNode())
    this.harness = new CliHarness({ argv })
    const { connect } = this.harness
    this.harness.store.ringKept = ringOf(count)
    this.harness.connect = async options => {
      const store = await connect.call(this.harness, options)
      const index = /^kv:\/\/10\.0\.0\.(\d+):7700$/.exec(options.url)?.[1]
      if (index === undefined) return store
      assert.deepEqual([options.lazy, options.alone], [true, true])
      return this.nodes[Number(index) - 1]!
    }
    void this.harness.run().then(code => {
      this.code = code
    })
  }

  async until(condition: () => boolean): Promise<void> {
    await until(condition, () => `${this.harness.out}\n${this.harness.err}`)
  }

  async untilLines(count: number): Promise<string[]> {
    const linesOf = (): string[] => this.harness.out.split('\n').slice(0, -1)
    await this.until(() => linesOf().length >= count)
    return linesOf()
  }

  async stopped(): Promise<ExitCode> {
    this.harness.interrupt()
    await this.until(() => this.code !== undefined)
    return this.code!
  }
}

/** Of members 1, 2 and so on. */
function ringOf(count: number): Ring {
  const member = (digit: number) => {
    const nodeId = String(digit).repeat(32)
    const clientAddress = `10.0.0.${digit}:7700`
    return { nodeId, clientAddress, peerAddress: '', rack: 'a', weight: 1 }
  }
  let ring = initRing(member(1), { clusterId: 'cc'.repeat(16), partitionCount: 16 })
  for (let digit = 2; digit <= count; digit++)
    ring = finish(moveReads(beginJoin(ring, member(digit))))
  return ring
}

describe('watch', () => {
  test('shows what replicas tell as one', async () => {
    const watching = new Watching('watch user:', 2)
    const [a, b] = watching.nodes as [FedNode, FedNode]
    a.give([])
    b.give([])
    const one = put('user:1', 'Ada', WALL_MS + 1)
    a.give([one])
    b.give([one])
    await watching.untilLines(1)
    // The replica that was behind tells of a write that is over by now.
    b.give([del('user:1', WALL_MS + 3)])
    await watching.untilLines(2)
    a.give([put('user:1', 'Grace', WALL_MS + 2), del('user:1', WALL_MS + 3), put('user:2', 'x y')])
    assert.deepEqual(await watching.untilLines(3), [
      '2026-01-01T00:00:00.001Z  put  user:1  Ada',
      '2026-01-01T00:00:00.003Z  del  user:1',
      '2026-01-01T00:00:00.000Z  put  user:2  "x y"',
    ])
    assert.equal(await watching.stopped(), ExitCode.ok)
    assert.match(watching.harness.err, /11111111 at 10\.0\.0\.1:7700: watched from now on/)
    assert.equal(a.asked[0]?.['prefix'], base64('user:'))
    assert.deepEqual([a.asked[0]?.['after'], a.asked[1]?.['after']], [undefined, 100])
    assert.ok(a.closed && b.closed)
  })

  test('is refused by a proxy, which says of no node where it is', async () => {
    const watching = new Watching('watch user:', 2)
    const { store } = watching.harness
    const ring = ringOf(2)
    const members = ring.members.map(member => ({ ...member, clientAddress: '' }))
    store.ringKept = { ...ring, members }
    await watching.until(() => watching.code !== undefined)
    assert.equal(watching.code, ExitCode.failed)
    assert.match(
      watching.harness.err,
      /is a proxy, which does not say where they are.*\n.*--url kv:/,
    )
    assert.deepEqual(
      watching.nodes.map(({ asked }) => asked.length),
      [0, 0],
    )
  })

  test('goes on where a node was left, and says so; a gap is said, too', async () => {
    const watching = new Watching('watch --json', 2)
    const [a, b] = watching.nodes as [FedNode, FedNode]
    a.give([])
    b.give([])
    await watching.untilLines(2)
    a.give(new UnavailableError('connection refused'))
    await watching.untilLines(3)
    b.give([put('k', 'v')])
    await watching.untilLines(4)
    watching.harness.clock.advance(500)
    a.give([])
    await watching.untilLines(5)
    assert.deepEqual(
      a.asked.slice(1).map(({ watch, after }) => [watch, after]),
      [['w', 100], ['w', 100], ...a.asked.slice(3).map(() => ['w', 100])],
    )
    a.give(new ChangesGoneError('the log is gone'))
    await watching.untilLines(6)
    await watching.until(() => a.asked.at(-1)?.['after'] === undefined)
    a.give([put('k', 'w', WALL_MS + 5)])
    await watching.untilLines(7)
    const lines = watching.harness.json as Record<string, unknown>[]
    assert.deepEqual(
      lines.map(({ type, state, value, node }) => [type, state ?? value, String(node).slice(0, 2)]),
      [
        ['node', 'watched', '11'],
        ['node', 'watched', '22'],
        ['node', 'away', '11'],
        ['put', 'v', '22'],
        ['node', 'back', '11'],
        ['node', 'gap', '11'],
        ['put', 'w', '11'],
      ],
    )
    assert.equal(await watching.stopped(), ExitCode.ok)
  })

  test('ends after so many changes, and shows no more', async () => {
    const watching = new Watching('watch -n 2 -k', 1)
    watching.nodes[0]!.give([put('a', '1'), put('b', '2'), put('c', '3')])
    await watching.until(() => watching.code !== undefined)
    assert.equal(watching.code, ExitCode.ok)
    assert.deepEqual(
      watching.harness.out
        .trimEnd()
        .split('\n')
        .map(line => line.slice(26)),
      ['put  a', 'put  b'],
    )
  })

  test('leaves out what was written before it began, and what is too large', async () => {
    const watching = new Watching('watch', 1)
    const { value: _, ...large } = put('large', 'x')
    watching.nodes[0]!.give([put('old', '1', WALL_MS - 60_000), { ...large, valueBytes: 70_000 }])
    assert.match((await watching.untilLines(1))[0]!, /put {2}large {2}\(68\.4 KiB\)$/)
    await watching.stopped()
  })

  test('ends where asking again cannot help', async () => {
    const watching = new Watching('watch', 1)
    watching.nodes[0]!.give(new PermissionError("this user has no permission 'read'"))
    await watching.until(() => watching.code !== undefined)
    assert.equal(watching.code, ExitCode.failed)
    assert.match(watching.harness.err, /no permission 'read'/)
  })
})

function inAnyOrder<T>(items: readonly T[], random: Random): T[] {
  const places = items.map(item => ({ item, place: random.next() }))
  return places.sort((a, b) => a.place - b.place).map(({ item }) => item)
}

test('what replicas tell in any order comes to the last write of each key, none twice', t => {
  const random = seededRandom(printSeed(t))
  for (let round = 0; round < 50; round++) {
    const merge = new WatchMerge(0)
    const writes = Array.from({ length: 60 }, (_, index) => {
      return { key: `k${random.below(6)}`, at: versionOf(1 + random.below(5), index) }
    })
    // Each replica has them in an order of its own.
    const replicas = Array.from({ length: 3 }, () => inAnyOrder(writes, random))
    const shown = new Map<string, string[]>()
    while (replicas.some(({ length }) => length > 0)) {
      const replica = replicas[random.below(3)]!
      const write = replica.shift()
      if (write === undefined || !merge.isNews(write.key, write.at)) continue
      shown.set(write.key, [...(shown.get(write.key) ?? []), write.at])
    }
    const bytes = (text: string): string => Buffer.from(text, 'base64').toString('hex')
    for (const [key, versions] of shown) {
      const told = versions.map(bytes)
      assert.deepEqual(told, [...new Set(told)].sort(inOrder))
      const all = writes.filter(write => write.key === key).map(({ at }) => bytes(at))
      assert.equal(told.at(-1), all.sort(inOrder).at(-1))
    }
    assert.equal(shown.size, new Set(writes.map(({ key }) => key)).size)
  }
})

test('the memory of a merge is bounded', () => {
  const merge = new WatchMerge(0, 2)
  assert.deepEqual(
    ['a', 'b', 'a', 'c', 'a', 'b'].map(key => merge.isNews(key, versionOf(1))),
    // Of b it was not heard for longest.
    [true, true, false, true, false, true],
  )
})

function inOrder(one: string, other: string): number {
  return one < other ? -1 : 1
}
