// Goal: what the connections hold together is bounded, and a client within its fair part is never
// refused for what others hold.
// Method: random clients come, take, give back and leave, against a model of what each holds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OverloadedError } from '../../src/errors.ts'
import { Admission, type Share } from '../../src/net/admission.ts'
import { resolveServerLimits } from '../../src/net/limits.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'
import { SMALL_LIMITS } from '../support/session-harness.ts'

const BUDGET = 210_000
const LIMITS = resolveServerLimits({
  ...SMALL_LIMITS,
  inFlightMax: 40,
  inFlightBytesMax: BUDGET,
  receiveBytesMax: BUDGET,
  outputTotalBytesMax: BUDGET,
  scansMax: 50,
  scansTotalMax: 60,
})

interface Client {
  readonly share: Share
  readonly requests: number[]
  received: number
  scans: number
}

function refuses(check: () => void): boolean {
  try {
    check()
    return false
  } catch (error) {
    assert.ok(error instanceof OverloadedError)
    assert.ok(error.retryAfterMs > 0)
    return true
  }
}

test('budgets hold, and fair parts are always had', t => {
  const random = seededRandom(printSeed(t))
  const admission = new Admission(LIMITS)
  const clients: Client[] = []
  const sum = (of: (client: Client) => number): number =>
    clients.reduce((total, client) => total + of(client), 0)
  let refusals = 0
  /** Checks one answer against what the client and all of them hold. */
  function judge(isRefused: boolean, own: number, all: number, wanted: number, max: number): void {
    const isFair = own + wanted <= max / clients.length
    assert.equal(isRefused, all + wanted > max && !isFair)
    if (isRefused) refusals++
  }
  for (let step = 0; step < 20_000; step++) {
    if (clients.length === 0 || (clients.length < 12 && random.below(100) === 0)) {
      const share = admission.share()
      share.join()
      clients.push({ share, requests: [], received: 0, scans: 0 })
    }
    const client = clients[random.below(clients.length)]!
    const { share, requests } = client
    const size = 1 + random.below(20_000)
    switch (random.below(9)) {
      case 0: {
        const bytesOf = (one: Client): number => one.requests.reduce((a, b) => a + b, 0)
        const isRefused = refuses(() => share.check(size))
        const count = sum(one => one.requests.length)
        const bytes = sum(bytesOf)
        const ownBytes = bytesOf(client)
        const mayCount = count < 40 || requests.length + 1 <= 40 / clients.length
        const mayBytes = bytes + size <= BUDGET || ownBytes + size <= BUDGET / clients.length
        assert.equal(isRefused, !(mayCount && mayBytes))
        if (isRefused) break
        share.begin(size)
        requests.push(size)
        break
      }
      case 1: {
        const done = requests.pop()
        if (done !== undefined) share.end(done)
        break
      }
      case 2:
      case 3: {
        const isRefused = !share.reserve(size)
        judge(
          isRefused,
          client.received,
          sum(one => one.received),
          size,
          BUDGET,
        )
        if (!isRefused) client.received += size
        break
      }
      case 4:
        share.release(client.received)
        client.received = 0
        break
      case 5: {
        const isRefused = refuses(() => share.checkScan())
        if (client.scans >= 50) assert.ok(isRefused)
        else
          judge(
            isRefused,
            client.scans,
            sum(one => one.scans),
            1,
            60,
          )
        if (isRefused) break
        share.openScan()
        client.scans++
        break
      }
      case 6:
        if (client.scans > 0) {
          share.closeScan()
          client.scans--
        }
        break
      case 7:
        if (random.below(30) > 0) break
        share.leave()
        clients.splice(clients.indexOf(client), 1)
        break
      default:
    }
    assert.equal(admission.clients, clients.length)
    assert.equal(
      admission.inFlight,
      sum(one => one.requests.length),
    )
    assert.equal(
      admission.receiveBytes,
      sum(one => one.received),
    )
    assert.equal(
      admission.scans,
      sum(one => one.scans),
    )
    assert.ok(admission.receiveBytes <= 2 * BUDGET)
    assert.ok(admission.inFlight <= 80)
  }
  assert.ok(refusals > 50, `${refusals} refusals`)
  for (const { share } of clients) share.leave()
  const { inFlight, inFlightBytes, receiveBytes, outputBytes, scans } = admission
  assert.deepEqual([inFlight, inFlightBytes, receiveBytes, outputBytes, scans], [0, 0, 0, 0, 0])
})

test('replies that wait count, and leave room for those who take theirs', () => {
  const admission = new Admission(LIMITS)
  const [slow, good] = [admission.share(), admission.share()]
  slow.join()
  good.join()
  slow.setOutput(BUDGET - 100)
  assert.equal(good.outputRoom, BUDGET / 2)
  assert.equal(slow.outputRoom, 100)
  assert.ok(refuses(() => slow.checkOutput(101)))
  assert.ok(!refuses(() => good.checkOutput(BUDGET / 2)))
  slow.setOutput(BUDGET + 1)
  assert.ok(refuses(() => slow.check(1)))
  assert.ok(!refuses(() => good.check(1)))
  slow.leave()
  assert.equal(admission.outputBytes, 0)
})
