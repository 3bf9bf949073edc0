// Goal: `kvcli cluster` shows the ring that a server goes by, to people and to programs, also while
// it changes, and who owns a key.
// Method: the whole program over a store that has a ring of known members; what it prints is held
// against the ring itself.
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, test } from 'node:test'
import { ExitCode } from '../../src/cli/exit-code.ts'
import {
  beginJoin,
  beginLeave,
  finish,
  initRing,
  moveReads,
  ownerIds,
  Partitioner,
  type Ring,
  RingTable,
} from '../../src/cluster/index.ts'
import { VersionMismatchError } from '../../src/errors.ts'
import { CapturedOutput, CliHarness, runCli, until } from '../support/cli-harness.ts'
import { MemoryStore } from '../support/memory-store.ts'

function node(digit: number, weight = 1) {
  const clientAddress = `10.0.0.${digit}:7700`
  return { nodeId: String(digit).repeat(32), clientAddress, peerAddress: '', rack: 'a', weight }
}

const FIRST = initRing(node(1), { clusterId: 'cc'.repeat(16), partitionCount: 64 })

function join(ring: Ring, digit: number, weight = 1): Ring {
  return finish(moveReads(beginJoin(ring, node(digit, weight))))
}

const FOUR = join(join(join(FIRST, 2), 3), 4, 2)

function storeWith(ringKept: Ring): MemoryStore {
  return Object.assign(new MemoryStore(), { ringKept })
}

interface MemberJson {
  readonly nodeId: string
  readonly owned: number
  readonly ownedAfter: number
  readonly share: number
  readonly idealShare: number
  readonly tokens: number
}

describe('cluster ring', () => {
  test('of one node says that it has everything, once', async () => {
    const { out, code } = await runCli('cluster ring', { store: storeWith(FIRST) })
    assert.deepEqual(out.trimEnd().split('\n'), [
      'epoch 1, 64 partitions, replication factor 3',
      'member    state   weight  partitions    share    ideal  rack  address',
      '11111111  normal       1          64  100.0 %  100.0 %  a     10.0.0.1:7700',
      '  -> too few nodes for 3 replicas: every key is on one',
    ])
    assert.equal(code, ExitCode.ok)
  })

  test('shows what each of several has, in 80 columns', async () => {
    const { out } = await runCli('cluster ring', { store: storeWith(FOUR) })
    const lines = out.trimEnd().split('\n')
    assert.ok(lines.every(line => line.length <= 80))
    const owned = new RingTable(FOUR).readers.partitionsOwned()
    const ideals = [21.3, 21.3, 21.3, 32.3]
    assert.equal(lines.length, 2 + 4)
    for (const [index, count] of owned.entries()) {
      const share = ((count / (64 * 3)) * 100).toFixed(1)
      const cells = lines[2 + index]!.split(/ {2,}/)
      const weight = index === 3 ? '2' : '1'
      assert.deepEqual(cells.slice(2, 5), [weight, String(count), `${share} %`])
      assert.ok(Math.abs(Number.parseFloat(cells[5]!) - ideals[index]!) < 3, cells[5])
    }
  })

  test('has all of it as JSON, in shares that add up', async () => {
    const { json } = await runCli('cluster ring --json', { store: storeWith(FOUR) })
    const [result] = json as { members: MemberJson[] }[]
    const { members, ...ring } = result!
    assert.deepEqual(ring, {
      epoch: FOUR.epoch,
      phase: 'stable',
      clusterId: 'cc'.repeat(16),
      partitionCount: 64,
      replicationFactor: 3,
      virtualNodes: 128,
      removed: [],
      operation: null,
    })
    const sum = (part: (member: MemberJson) => number) =>
      members.reduce((total, member) => total + part(member), 0)
    assert.equal(
      sum(({ owned }) => owned),
      64 * 3,
    )
    assert.ok(Math.abs(sum(({ share }) => share) - 1) < 1e-9)
    assert.ok(Math.abs(sum(({ idealShare }) => idealShare) - 1) < 1e-9)
    const { nodeId, tokens } = members[3]!
    assert.deepEqual([nodeId, tokens], ['4'.repeat(32), 256])
  })

  test('while a node joins tells before and after, and who answers reads', async () => {
    const joining = beginJoin(FOUR, node(5))
    const before = await runCli('cluster ring', { store: storeWith(joining) })
    assert.match(before.out, /a join is under way: reads go to the owners before it\n$/)
    assert.match(before.out, /5{8} {2}joining +1 +0 -> \d+ .* 10\.0\.0\.5:7700\n/)
    const after = await runCli('cluster ring', { store: storeWith(moveReads(joining)) })
    assert.match(after.out, /a join is under way: reads go to the owners after it\n$/)
    const { json } = await runCli('cluster ring --json', { store: storeWith(joining) })
    const [result] = json as { members: MemberJson[]; operation: unknown }[]
    assert.deepEqual(result!.operation, { type: 'join', joining: '5'.repeat(32) })
    const { owned, ownedAfter } = result!.members[4]!
    assert.equal(owned, 0)
    assert.equal(ownedAfter, new RingTable(joining).after.partitionsOwned()[4])
  })
})

function figuresOf(ring: Ring, changes: Readonly<Record<string, object>> = {}) {
  const members = ring.members.map(({ nodeId, clientAddress }, index) => ({
    nodeId,
    liveness: 'up',
    forMs: 61_000,
    incarnation: 2 ** 24,
    generation: index + 1,
    epoch: ring.epoch,
    clientAddress,
    peerAddress: '',
    states: {},
    ...changes[nodeId],
  }))
  return { node: { id: ring.members[0]!.nodeId }, members }
}

interface StoreOf {
  readonly changes?: Readonly<Record<string, object>>
  readonly hints?: readonly object[]
}

function storeOf(ring: Ring, { changes, hints }: StoreOf = {}): MemoryStore {
  const store = Object.assign(storeWith(ring), { statsKept: figuresOf(ring, changes) })
  if (hints !== undefined) store.adminKept['hints'] = hints.map(each => ({ members: each }))
  return store
}

const [ONE, TWO, THREE, FOURTH] = FOUR.members.map(({ nodeId }) => nodeId) as [
  ...[string, string, string, string],
]

function owing(node: string, peer: string, changes: object = {}): object {
  const owed = { peer, writes: 1500, isEstimate: false, bytes: 30_000, partitions: 0 }
  const state = { isSendable: false, isUp: false, pendingBytes: 0, pendingAgeMs: 0 }
  return { node, owes: [{ ...owed, ...state, ...changes }] }
}

describe('cluster status', () => {
  test('of a node that stands alone is short', async () => {
    const store = Object.assign(storeWith(FIRST), { statsKept: { node: { id: '1'.repeat(32) } } })
    const { out, code } = await runCli('cluster status', { store })
    assert.deepEqual(out.trimEnd().split('\n'), [
      'GREEN: 1 node is up, nothing is owed',
      '   node      address        state   seen  for  starts  partitions  owed',
      '*  11111111  10.0.0.1:7700  normal  up                         64     0',
      'epoch 1, replication factor 3',
    ])
    assert.equal(code, ExitCode.ok)
  })

  test('shows how each of several is, in 80 columns', async () => {
    const { out, code } = await runCli('cluster status', { store: storeOf(FOUR) })
    const lines = out.trimEnd().split('\n')
    assert.ok(lines.every(line => line.length <= 80))
    assert.equal(lines[0], 'GREEN: 4 of 4 nodes are up, nothing is owed')
    assert.match(lines[2]!, /^\* {2}1{8} {2}10\.0\.0\.1:7700 {2}normal {2}up {4}1m 01s +1 +\d+ +0$/)
    assert.match(lines[5]!, /^ {3}4{8} .* up {4}1m 01s +4 +\d+ +0$/)
    assert.equal(lines[6], `epoch ${FOUR.epoch}, replication factor 3`)
    assert.equal(code, ExitCode.ok)
  })

  const down = { liveness: 'down' }
  const suspect = { liveness: 'suspect' }
  for (const [what, options, colour, texts] of [
    [
      'one is down',
      { changes: { [TWO]: down } },
      'YELLOW: 3 of 4 nodes are up, nothing is owed',
      [/22222222 .* down /, /every key can still be read and written, at quorum too/],
    ],
    [
      'one that is down is owed something',
      { changes: { [TWO]: down }, hints: [[owing(ONE, TWO), owing(THREE, TWO, { writes: 1 })]] },
      'YELLOW: 3 of 4 nodes are up, 1,501 writes are owed',
      [/22222222 .* down .* 1,501$/m, /kept until the node is back: see kvcli cluster hints/],
    ],
    [
      'one that is down cannot say what it owes',
      { changes: { [TWO]: down }, hints: [[{ node: TWO, owes: [], error: 'no link' }]] },
      'YELLOW: 3 of 4 nodes are up, nothing is known to be owed',
      [/22222222 .* down .* 0$/m],
    ],
    [
      'it is back, and is being sent it',
      { hints: [[owing(ONE, TWO, { partitions: 2, isSendable: true, isEstimate: true })]] },
      'YELLOW: 4 of 4 nodes are up, ~1,500 writes and 2 partitions are owed',
      [/22222222 .* up .* ~1,500 \+ 2 partitions$/m, /is being sent: see kvcli cluster hints/],
    ],
    [
      'one is suspected, and still asked',
      { changes: { [TWO]: suspect, [THREE]: suspect } },
      'YELLOW: 2 of 4 nodes are up, nothing is owed',
      [/every key can still be/],
    ],
    [
      'two are down, so that some keys have no quorum',
      { changes: { [TWO]: down, [THREE]: down } },
      'RED: 2 of 4 nodes are up, nothing is owed',
      [/no quorum for \d+ of 64 partitions: only consistency one goes on there/],
    ],
    [
      'three are down, so that some have no replica',
      { changes: { [TWO]: down, [THREE]: down, [FOURTH]: down } },
      'RED: 1 of 4 nodes is up, nothing is owed',
      [/the keys of \d+ of 64 partitions cannot be read or written/, /no quorum for 64 of 64/],
    ],
    [
      'one goes by an older ring',
      { changes: { [THREE]: { epoch: FOUR.epoch - 1 } } },
      'YELLOW: 4 of 4 nodes are up, nothing is owed',
      [/not all nodes go by the same ring yet: 33333333 is behind/],
    ],
  ] as const) {
    test(`when ${what} is ${colour}`, async () => {
      const { out, code } = await runCli('cluster status', { store: storeOf(FOUR, options) })
      assert.equal(out.split('\n')[0], colour)
      for (const text of texts) assert.match(out, text)
      assert.equal(code, ExitCode.failed)
    })
  }

  test('while the ring changes is yellow', async () => {
    const moving = await runCli('cluster status', { store: storeOf(beginJoin(FOUR, node(5))) })
    assert.match(moving.out, /^YELLOW: /)
    assert.match(moving.out, /the ring is changing/)
  })

  test('counts what can be reached as the ring has it', async () => {
    const store = storeOf(FOUR, { changes: { [TWO]: down, [THREE]: down } })
    const { json } = await runCli('cluster status --json', { store })
    const [result] = json as Record<string, unknown>[]
    const { readers } = new RingTable(FOUR)
    const lists = Array.from({ length: 64 }, (_, partition) => ownerIds(readers, partition))
    const fewer = lists.filter(ids => ids.filter(id => id !== TWO && id !== THREE).length < 2)
    assert.equal(result!['partitionsWithoutQuorum'], fewer.length)
    assert.equal(result!['partitionsWithoutReplica'], 0)
    assert.equal(result!['health'], 'red')
  })

  test('--wait ends when it is green, and shows meanwhile how it goes', async () => {
    const hints = [[owing(ONE, TWO)], [owing(ONE, TWO, { writes: 20 })], []]
    const store = storeOf(FOUR, { hints })
    const screen = new CapturedOutput(new PassThrough().resume())
    const harness = new CliHarness({ argv: 'cluster status --wait', store, stderr: screen })
    const running = harness.run()
    for (let poll = 0; poll < 2; poll++) {
      await until(
        () => harness.clock.timerCount > 0,
        () => harness.err,
      )
      harness.clock.advance(500)
    }
    assert.equal(await running, ExitCode.ok)
    assert.match(harness.err, /YELLOW: .* 1,500 writes are owed.*YELLOW: .* 20 writes are owed/s)
    assert.match(harness.out, /^GREEN: /)
    assert.doesNotMatch(harness.out, /YELLOW/)
  })

  test('is not green while something keeps a node from taking writes', async () => {
    const two = FOUR.members[1]!.nodeId
    for (const [states, why] of [
      [{ clockOffMs: 10_800_000 }, /its clock is 3 ?h.* off/],
      [{ writesRefused: 1 }, /its disk is full: make room/],
      [{ writesRefused: 2 }, /it may open no more files/],
      [{ writesRefused: 3 }, /its disk keeps failing/],
      [{ writesRefused: 4 }, /no other member agrees yet with its clock/],
      [{ writesRefused: 200 }, /see its log/],
      [{ clockOffMs: 0, writesRefused: 0 }, undefined],
    ] as const) {
      const changes = { [two]: { states } }
      const { out } = await runCli('cluster status', { store: storeOf(FOUR, { changes }) })
      assert.ok(out.startsWith(why === undefined ? 'GREEN' : 'YELLOW'), out)
      assert.equal(out.includes('takes no writes'), why !== undefined, out)
      if (why !== undefined) assert.match(out, why)
    }
  })

  test('is not green before every node has said what it owes', async () => {
    const hints = [
      [
        { node: ONE, owes: [] },
        { node: TWO, owes: [], error: 'no answer' },
      ],
    ]
    const { out, code } = await runCli('cluster status', { store: storeOf(FOUR, { hints }) })
    assert.match(out, /^YELLOW: 4 of 4 nodes are up, nothing is known to be owed\n/)
    assert.match(out, /not all nodes have said what they owe: see kvcli cluster hints/)
    assert.equal(code, ExitCode.failed)
  })

  test('has all of it as JSON, with where a node says that it is', async () => {
    const [one] = FOUR.members
    const changes = { [one!.nodeId]: { clientAddress: 'moved:1', states: { load: 3 } } }
    const { json } = await runCli('cluster status --json', { store: storeOf(FOUR, { changes }) })
    const [result] = json as { isWell: boolean; epoch: number; members: object[] }[]
    assert.equal(result!.isWell, true)
    assert.equal(result!.epoch, FOUR.epoch)
    const owned = new RingTable(FOUR).readers.partitionsOwned()
    assert.deepEqual(result!.members[0], {
      nodeId: one!.nodeId,
      isAsked: true,
      state: 'normal',
      rack: 'a',
      weight: 1,
      partitions: owned[0],
      owedWrites: 0,
      isOwedEstimate: false,
      owedPartitions: 0,
      clientAddress: 'moved:1',
      peerAddress: '',
      liveness: 'up',
      forMs: 61_000,
      incarnation: 2 ** 24,
      generation: 1,
      epoch: FOUR.epoch,
      states: { load: 3 },
    })
  })
})

describe('cluster hints', () => {
  test('shows who keeps what for whom, and how it goes', async () => {
    const silent = { node: THREE, owes: [], error: 'no link' }
    const sending = { writes: 2, isEstimate: true, partitions: 1, isSendable: true, isUp: true }
    const idle = { writes: 0, pendingBytes: 700, isSendable: true }
    const slow = { writes: 7, isUp: true }
    const hints = [
      [
        ...[owing(ONE, TWO), owing(FOURTH, TWO, sending), owing(TWO, ONE, slow)],
        ...[owing(TWO, FOURTH, idle), silent],
      ],
    ]
    const { out, code } = await runCli('cluster hints', { store: storeOf(FOUR, { hints }) })
    assert.deepEqual(out.trimEnd().split('\n'), [
      'node      owes      writes     hints  partitions',
      '11111111  22222222   1,500  29.3 KiB           0  waits for its return',
      '44444444  22222222      ~2  29.3 KiB           1  being sent',
      '22222222  11111111       7  29.3 KiB           0  waits until it takes writes',
      '  -> what 33333333 owes is not known: no link',
      '  -> ~: a key that was written several times may count as often',
      '  -> partitions are compared whole: see kvcli cluster repair',
    ])
    assert.equal(code, ExitCode.failed)
  })

  test('of nodes that owe nothing says so, and ends with exit code 0', async () => {
    const hints = [[{ node: ONE, owes: [] }]]
    const { out, code } = await runCli('cluster hints', { store: storeOf(FOUR, { hints }) })
    assert.equal(out, 'no node owes another one anything\n')
    assert.equal(code, ExitCode.ok)
    const { json } = await runCli('cluster hints --json', { store: storeOf(FOUR, { hints }) })
    assert.deepEqual(json, [{ members: hints[0] }])
  })
})

test('cluster abort says in which epoch the join was taken back', async () => {
  const store = Object.assign(storeWith(FIRST), { adminKept: { abort: [{ epoch: 12 }] } })
  assert.equal((await runCli('cluster abort', { store })).out, 'taken back, in epoch 12\n')
  const { json } = await runCli('cluster abort --json', { store })
  assert.deepEqual(json, [{ epoch: 12 }])
  const refused = await runCli('cluster abort', { store: Object.assign(store, { adminKept: {} }) })
  assert.match(refused.err, /\n {2}-> see what is under way: kvcli cluster status\n$/)
})

describe('cluster owners', () => {
  test('shows the partition of a key and its owners in order', async () => {
    const { out } = await runCli('cluster owners user:1', { store: storeWith(FOUR) })
    const partition = new Partitioner(64).partitionOf(Buffer.from('user:1'))
    const ids = ownerIds(new RingTable(FOUR).readers, partition)
    const [title, columns, ...rows] = out.trimEnd().split('\n')
    assert.equal(title, `user:1 is in partition ${partition}`)
    assert.match(columns!, /^ +member +state +address$/)
    assert.deepEqual(
      rows,
      ids.map((id, place) => `${place + 1}  ${id}  normal  10.0.0.${id[0]}:7700`),
    )
  })

  test('has them as JSON, of a key in any encoding', async () => {
    const text = await runCli('cluster owners user:1 --json', { store: storeWith(FOUR) })
    const hex = await runCli('cluster owners --hex 757365723a31 --json', { store: storeWith(FOUR) })
    const [fromText] = text.json as Record<string, unknown>[]
    assert.deepEqual(hex.json, [{ ...fromText, key: '757365723a31' }])
    const { epoch, phase, owners, writesAlso } = fromText as {
      owners: MemberJson[]
    } & typeof fromText
    assert.deepEqual([epoch, phase, writesAlso], [FOUR.epoch, 'stable', []])
    assert.equal(owners.length, 3)
  })

  test('while a node leaves has also who takes writes only', async () => {
    const leaving = beginLeave(FOUR, '2'.repeat(32))
    const table = new RingTable(leaving)
    const key = Array.from({ length: 500 }, (_, count) => `k${count}`).find(name => {
      return table.isOwner(new Partitioner(64).partitionOf(Buffer.from(name)), '2'.repeat(32))
    })!
    const { out } = await runCli(`cluster owners ${key}`, { store: storeWith(leaving) })
    assert.match(out, /^ +\d {2}2{32} {2}leaving {2}10\.0\.0\.2:7700$/m)
    assert.match(out, /^writes {2}([134])\1{31} {2}normal {3}10\.0\.0\.\1:7700$/m)
  })
})

describe('cluster', () => {
  for (const [argv, message] of [
    ['cluster', /action/],
    ['cluster rings', /does not know 'rings': use status, ring, owners, hints, repair, abort/],
    ['cluster ring k', /takes no key/],
    ['cluster ring --wait', /only cluster status waits/],
    ['cluster owners', /needs a key/],
    ['cluster owners --hex zz', /the key 'zz' is not hex/],
  ] as const) {
    test(`${argv} is refused without asking a server`, async () => {
      const run = await runCli(argv)
      assert.match(run.err, message)
      assert.equal(run.code, ExitCode.usage)
      assert.deepEqual(run.store.calls, [])
    })
  }

  test('refuses keys that no server has', async () => {
    for (const key of ['', 'k'.repeat(65_534)]) {
      const run = await runCli(['cluster', 'owners', key])
      assert.match(run.err, /a key has 1 to 65533 bytes/)
      assert.equal(run.code, ExitCode.usage)
    }
  })

  test('says what is wrong with a server that has no ring, or sends none', async () => {
    const old = storeWith(FOUR)
    old.failNext = new VersionMismatchError('opcode 16 is not known in protocol version 1')
    const refused = await runCli('cluster ring', { store: old })
    assert.match(refused.err, /opcode 16 is not known.*KV_VERSION_MISMATCH/)
    const made = new CliHarness({ argv: 'cluster ring' })
    made.store.ringMap = () => Promise.resolve(Buffer.from('nothing'))
    assert.equal(await made.run(), ExitCode.failed)
    assert.match(made.err, /KV_(?:PROTOCOL|VERSION_MISMATCH)/)
  })
})
