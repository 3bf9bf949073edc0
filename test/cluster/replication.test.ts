// Goal: every write that was acknowledged reaches every replica, with nothing but duties and hints
// to bring it there, whatever is lost and restarted meanwhile.
// Method: real engines on simulated disks; the cases in which a duty is easily forgotten.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import type { StoreWrite } from '../../src/cluster/partitioned-store.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'
import { WriteCluster } from '../support/write-cluster.ts'

function put(name: string, value = `value of ${name}`): StoreWrite {
  return { type: 'put', key: utf8Encode(name), value: utf8Encode(value), ttlMs: 0 }
}

async function assertEverywhere(cluster: WriteCluster, names: Iterable<string>): Promise<void> {
  for (const name of names) {
    const key = utf8Encode(name)
    const owners = cluster.owners(key)
    const forms = await Promise.all(owners.map(owner => cluster.formAt(owner, key)))
    assert.ok(forms[0] !== undefined, `${name} is there`)
    assert.deepEqual(new Set(forms).size, 1, `${name} is the same on its ${owners.length} replicas`)
  }
}

describe('replication', () => {
  test('brings a write to every replica at once', async t => {
    const cluster = await WriteCluster.start({ random: seededRandom(printSeed(t)), nodes: 3 })
    const names = Array.from({ length: 50 }, (_, index) => `k${index}`)
    for (const name of names) await cluster.settle(cluster.write(cluster.members[0]!, [put(name)]))
    await cluster.pass(200)
    await assertEverywhere(cluster, names)
    await cluster.stopAll()
  })

  test('of a coordinator that loses power right after acknowledging at one', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 10; round++) {
      const cluster = await WriteCluster.start({ random, nodes: 3 })
      const [first, ...others] = cluster.members as [never, ...never[]]
      for (const other of others) cluster.network.pause((other as { id: string }).id)
      const names = Array.from({ length: 1 + random.below(40) }, (_, index) => `k${index}`)
      await Promise.all(names.map(name => cluster.settle(cluster.write(first, [put(name)]))))
      await cluster.crash(first)
      cluster.network.mend()
      await cluster.pass(1000)
      await cluster.start(first)
      await cluster.pass(7000)
      await assertEverywhere(cluster, names)
      await cluster.stopAll()
    }
  })
})
