// Goal: what the ring says of where a node is comes to be true, also when the node learns where it
// is, as once its door is open, while the members agree on what it said before.
// Method: a ring that a test changes by hand, and an agreement that takes its time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AddressKeeper } from '../../src/cluster/address-keeper.ts'
import type { Ring } from '../../src/cluster/ring.ts'
import { initRing } from '../../src/cluster/ring-change.ts'
import { silentLogger } from '../../src/logger.ts'
import { seededRandom } from '../../src/random.ts'
import { SimClock } from '../support/sim-clock.ts'

const SELF = '0a'.repeat(16)
const AGREEING_MS = 100

test('the ring is told where a node is once that is known, also amid an agreement', async () => {
  const clock = new SimClock()
  const before = { clientAddress: 'old:1', peerAddress: 'old:2' }
  const member = { nodeId: SELF, ...before, rack: '', weight: 1 }
  let current = initRing(member, { clusterId: '0b'.repeat(16), partitionCount: 16 })
  const listeners = new Set<(ring: Ring) => void>()
  let addresses = { clientAddress: 'expected:0', peerAddress: 'new:2' }
  const keeper = new AddressKeeper({
    self: SELF,
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    ring: {
      get ring() {
        return current
      },
      onChange: listener => {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
    },
    agreement: {
      change: derive =>
        new Promise(resolve => {
          const next = derive(current)
          clock.setTimer(AGREEING_MS, () => {
            current = next
            for (const listener of listeners) listener(next)
            resolve(next)
          })
        }),
    },
    addresses: () => addresses,
  })
  keeper.check()
  await clock.advanceAsync(AGREEING_MS / 2)
  addresses = { clientAddress: 'bound:7', peerAddress: 'new:2' }
  keeper.check()
  await clock.advanceAsync(3 * AGREEING_MS)
  const { clientAddress, peerAddress } = current.members[0]!
  assert.deepEqual({ clientAddress, peerAddress }, addresses)
  const { epoch } = current
  await clock.advanceAsync(60_000)
  assert.equal(current.epoch, epoch, 'nothing is left to change')
  keeper.stop()
})
