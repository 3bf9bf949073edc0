// Goal: long work shares the event loop by client: no turn much longer than allowed, everybody goes
// on in the end, nobody overtakes, and one client's thousand pieces delay another's by one.
// Method: workers that move a test clock as they work; turns counted in event loop rounds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { FairQueue } from '../../src/fair-queue.ts'
import { seededRandom } from '../../src/random.ts'
import { WorkTurns } from '../../src/work-turns.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const STEP_MS = 0.05
const TURN_MS = 0.5

test('a queue gives each client its turn, in the order of its items', t => {
  const random = seededRandom(printSeed(t))
  const clients = Array.from({ length: 5 }, (_, name) => ({ name }))
  const queue = new FairQueue<{ readonly client: number; readonly place: number }>()
  const pushed = clients.map(() => 0)
  const shifted = clients.map(() => 0)
  /** How many of others each waiting client has seen go by since its last turn. */
  const passed = clients.map(() => new Map<number, number>())
  for (let step = 0; step < 5000; step++) {
    if (random.below(2) === 0) {
      const client = random.below(5)
      if (pushed[client] === shifted[client]) passed[client]!.clear()
      queue.push(clients[client]!, { client, place: pushed[client]!++ })
      continue
    }
    const item = queue.shift()
    if (item === undefined) {
      assert.deepEqual(pushed, shifted)
      continue
    }
    assert.equal(item.place, shifted[item.client]!++)
    passed[item.client]!.clear()
    for (const [other, seen] of passed.entries()) {
      if (other === item.client || pushed[other] === shifted[other]) continue
      const count = (seen.get(item.client) ?? 0) + 1
      assert.ok(count <= 1, 'nobody has two turns while another waits for one')
      seen.set(item.client, count)
    }
  }
  assert.equal(queue.length, pushed.reduce((a, b) => a + b) - shifted.reduce((a, b) => a + b))
})

test('turns end in time, and a thousand pieces of one client delay another by one turn', async () => {
  const clock = new SimClock()
  const turns = new WorkTurns(clock, TURN_MS)
  const [greedy, modest] = [{}, {}]
  let workedMs = 0
  let steps = 0
  async function work(client: object, stepCount: number): Promise<void> {
    await turns.begin(client)
    for (let step = 0; step < stepCount; step++) {
      clock.advance(STEP_MS)
      workedMs += STEP_MS
      steps++
      if (turns.isOver) await turns.pause(client)
    }
  }
  let isOver = false
  const all = Promise.all(Array.from({ length: 1000 }, () => work(greedy, 20))).then(() => {
    isOver = true
  })
  let rounds = 0
  let modestSteps = -1
  await yieldToEventLoop()
  const before = steps
  const done = work(modest, 3).then(() => {
    modestSteps = steps - before
  })
  while (!isOver) {
    workedMs = 0
    await yieldToEventLoop()
    rounds++
    assert.ok(workedMs <= TURN_MS + 2 * STEP_MS, `${workedMs} ms in one round`)
  }
  await done
  await all
  assert.equal(steps, 20_003)
  assert.ok(modestSteps <= 40, `${modestSteps} steps before the modest one was done`)
  assert.ok(rounds >= (20_000 * STEP_MS) / (TURN_MS + 2 * STEP_MS))
  assert.equal(turns.waitingCount, 0)
})

test('with nothing to share, work begins at once', () => {
  const turns = new WorkTurns(new SimClock())
  assert.equal(turns.begin({}), undefined)
  assert.equal(turns.begin({}), undefined)
  assert.equal(turns.isOver, false)
})
