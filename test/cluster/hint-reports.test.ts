// Goal: every member can say what all of them owe each other: how many keys, of whom, whether they
// are on their way; also after a restart, and until nothing is left.
// Method: three nodes with real engines on simulated disks, one of which is away for a while.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { type HintReport, HintReports, type OwedHints } from '../../src/cluster/hint-reports.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'
import { WriteCluster, type WriteMember } from '../support/write-cluster.ts'

const KEYS = 40

class Reports {
  readonly cluster: WriteCluster
  /** Partitions of which a member has lost something. */
  readonly lacking = new Map<WriteMember, number>()
  readonly #reports = new Map<WriteMember, HintReports>()

  constructor(cluster: WriteCluster) {
    this.cluster = cluster
    for (const member of cluster.members) this.open(member)
  }

  open(member: WriteMember): void {
    const { peers, writes } = member.running!
    const members = () => this.cluster.members.map(({ id }) => id)
    const { replication } = writes
    const { clock } = this.cluster
    const lacking = () => this.lacking.get(member) ?? 0
    const options = { peers, liveness: peers, clock, members, replication, lacking }
    this.#reports.set(member, new HintReports(options))
  }

  all(member: WriteMember): Promise<HintReport[]> {
    return this.cluster.settle(this.#reports.get(member)!.all())
  }

  /** What `holder` says of `peer`, as `asked` hears it; undefined when it owes nothing. */
  async owed(asked: WriteMember, holder: WriteMember, peer: WriteMember) {
    const reports = await this.all(asked)
    const report = reports.find(({ node }) => node === holder.id)
    assert.equal(report?.error, undefined)
    return report?.owes.find((owes: OwedHints) => owes.peer === peer.id)
  }
}

test('a member that answers what is no report is named, and the others are heard', async t => {
  const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
  const [first, second, third] = cluster.members as [WriteMember, WriteMember, WriteMember]
  const reports = new Reports(cluster)
  const answers = new Map([
    [second.id, '{"node":'],
    [third.id, 'null'],
  ])
  const { peers } = first.running!
  peers.request = peer => Promise.resolve(utf8Encode(answers.get(peer)!))
  const [own, ...others] = await reports.all(first)
  assert.deepEqual(own, { node: first.id, owes: [] })
  for (const { error } of others) assert.match(error!, /a peer sent no hint report/)
  await cluster.stopAll()
})

test('what a node that is away is owed is told by all, until it has it', async t => {
  const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
  const [first, second, third] = cluster.members as [WriteMember, WriteMember, WriteMember]
  const reports = new Reports(cluster)
  assert.deepEqual(
    (await reports.all(second)).map(({ owes }) => owes),
    [[], [], []],
  )
  reports.lacking.set(first, 3)
  assert.equal((await reports.owed(second, first, first))?.partitions, 3, 'what it lacks itself')
  reports.lacking.clear()
  await cluster.kill(third)
  const write = async (name: string): Promise<void> => {
    const key = utf8Encode(name)
    await cluster.settle(
      cluster.write(first, [{ type: 'put', key, value: key, ttlMs: 0 }], 'quorum'),
    )
  }
  for (let index = 0; index < KEYS; index++) await write(`key ${index}`)
  const owed = await reports.owed(second, first, third)
  assert.deepEqual([owed?.writes, owed?.isEstimate, owed?.partitions], [KEYS, true, 0])
  assert.deepEqual([owed?.isSendable, owed?.isUp, owed?.pendingBytes], [false, false, 0])
  assert.ok(owed!.bytes > KEYS * 10)
  assert.equal(await reports.owed(second, second, third), undefined)
  assert.match((await reports.all(first))[2]!.error ?? '', /no link/)
  // Written again, it counts twice, until it was counted anew.
  for (let index = 0; index < KEYS; index++) await write(`key ${index}`)
  assert.equal((await reports.owed(first, first, third))?.writes, 2 * KEYS)
  await cluster.pass(30_000, 500)
  await reports.all(first)
  await cluster.pass(100)
  const counted = await reports.owed(first, first, third)
  assert.deepEqual([counted?.writes, counted?.isEstimate], [KEYS, false])
  // A restart of who owes it forgets nothing.
  await cluster.kill(first)
  await cluster.start(first)
  reports.open(first)
  await cluster.pass(100)
  assert.equal((await reports.owed(first, first, third))?.writes, KEYS)
  await cluster.start(third)
  reports.open(third)
  await cluster.pass(100)
  assert.equal((await reports.owed(first, first, third))?.isSendable, true)
  await cluster.pass(8000)
  for (const asked of cluster.members) {
    assert.deepEqual(
      (await reports.all(asked)).map(({ owes, error }) => [owes, error]),
      cluster.members.map(() => [[], undefined]),
    )
  }
  await cluster.stopAll()
})
