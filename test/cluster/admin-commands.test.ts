// Goal: a node tells what each replica has of a key, and has all members compare everything, with
// progress; what it does not know is refused.
// Method: three nodes that differ by hand, one of which is cut off in the end.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { runAdmin } from '../../src/cluster/admin-commands.ts'
import type { KeyTrace } from '../../src/cluster/key-trace.ts'
import { RepairRuns, type RepairStatus } from '../../src/cluster/repair-runs.ts'
import { InvalidArgumentError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { FakeCluster, type FakeMember } from '../support/fake-cluster.ts'
import { startFakeNode } from '../support/fake-node.ts'
import { printSeed } from '../support/seed.ts'

const KEY = utf8Encode('key')
const TRACE = { command: 'trace', key: Buffer.from(KEY).toString('base64') }

describe('commands about a node', () => {
  test('a trace shows every replica, and whether they agree', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    const give = (member: FakeMember, stored: Uint8Array) =>
      member.store.applyStored([{ engineKey: member.store.partitioner.engineKey(KEY), stored }])
    const trace = async (): Promise<KeyTrace> => {
      const { peers, reads, store, repair } = a
      const repairs = runs ?? new RepairRuns({ peers, repair, members: () => [] })
      runs = repairs
      const options = { store, self: a.id, cluster: { peers, sets: reads.sets, repairs } }
      const running = runAdmin(options, TRACE, cluster.clock.monotonicMs() + 1000)
      return (await cluster.settle(running)) as unknown as KeyTrace
    }
    let runs: RepairRuns | undefined
    await give(a, cluster.form(1))
    const deleted = cluster.form(2, true)
    await give(b, deleted.slice())
    const differing = await trace()
    const states = new Map(differing.replicas.map(({ node, state }) => [node, state]))
    assert.deepEqual(
      [states.get(a.id), states.get(b.id), states.get(c.id)],
      ['value', 'deleted', 'absent'],
    )
    assert.equal(differing.agreed, false)
    assert.equal(differing.partition, a.store.partitioner.partitionOf(KEY))
    for (const member of [a, c]) await give(member, deleted.slice())
    assert.equal((await trace()).agreed, true)
    cluster.network.cut(a.id, b.id)
    const cut = await trace()
    assert.equal(cut.agreed, false)
    assert.equal(cut.replicas.find(({ node }) => node === b.id)?.state, 'failed')
  })

  test('a node alone is its only replica', async () => {
    const { store } = await startFakeNode()
    const options = { store, self: 'me' }
    await store.put(KEY, KEY, 1000, { durability: undefined, version: undefined })
    const trace = (await runAdmin(options, TRACE, 1000)) as unknown as KeyTrace
    assert.equal(trace.agreed, true)
    const [replica] = trace.replicas
    assert.equal(replica?.node, 'me')
    assert.equal(replica?.size, KEY.length)
    assert.equal(replica?.expiryMs, replica!.version!.timeMs + 1000)
    for (const command of [{ command: 'x' }, { command: 'trace' }, { command: 'repair' }]) {
      await assert.rejects(runAdmin(options, command, 1000), InvalidArgumentError)
    }
  })

  test('repair has every member compare everything, and tells how it went', async t => {
    const cluster = await FakeCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const [a, b, c] = cluster.members as [FakeMember, FakeMember, FakeMember]
    const members = () => cluster.members.map(({ id }) => id)
    const all = cluster.members.map(
      ({ peers, repair }) => new RepairRuns({ peers, repair, members }),
    )
    const { store, peers, reads } = a
    const options = { store, self: a.id, cluster: { peers, sets: reads.sets, repairs: all[0]! } }
    const run = async (action: string): Promise<readonly RepairStatus[]> => {
      const running = runAdmin(options, { command: 'repair', action }, Infinity)
      return (await cluster.settle(running))['members'] as readonly RepairStatus[]
    }
    const finish = async (): Promise<readonly RepairStatus[]> => {
      let statuses = await run('start')
      const progress = new Map(statuses.map(({ node, total }) => [node, { compared: 0, total }]))
      while (statuses.some(({ isRunning }) => isRunning)) {
        await cluster.pass(50)
        statuses = await run('status')
        for (const { node, compared, total, error } of statuses) {
          const before = progress.get(node)!
          if (error !== undefined) continue
          assert.equal(total, before.total, 'what there is to do stays the same')
          assert.ok(compared >= before.compared, 'and nothing of it is undone')
          progress.set(node, { compared, total })
        }
      }
      return statuses
    }
    const engineKey = store.partitioner.engineKey(KEY)
    await c.store.applyStored([{ engineKey, stored: cluster.form(1) }])
    // Ordinary rounds are under way when somebody asks for a whole one.
    await cluster.pass(10_000)
    const healed = await finish()
    assert.ok(healed.every(({ compared, total }) => total > 0 && compared === total))
    assert.ok(healed.every(({ failures, error }) => failures.length === 0 && error === undefined))
    assert.ok(healed.reduce((sum, { divergent }) => sum + divergent, 0) >= 2)
    for (const member of cluster.members) assert.ok(await member.store.get(KEY))
    cluster.network.cut(a.id, b.id)
    const cut = await finish()
    assert.match(cut.find(({ node }) => node === b.id)?.error ?? '', /no link/)
    assert.deepEqual(
      cut.find(({ node }) => node === a.id)?.failures.map(({ peer }) => peer),
      [b.id],
    )
    for (const { repair } of cluster.members) repair.close()
  })
})
