// Goal: the simulated world does what the real one does: time, promises, programs that stop and
// die, and connections that are slow, cut, reset, or end.
// Method: small scenes in simulated time.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { delay, yieldToEventLoop } from '../../src/clock.ts'
import type { AcceptedWire, Wire } from '../../src/net/index.ts'
import { seededRandom } from '../../src/random.ts'
import { calmProfile } from '../support/simulation/fault-profile.ts'
import { type CrashKind, Machine } from '../support/simulation/machine.ts'
import { MachineClock } from '../support/simulation/machine-clock.ts'
import { Scheduler } from '../support/simulation/scheduler.ts'
import { SimNetwork } from '../support/simulation/sim-network.ts'
import { SimProcess } from '../support/simulation/sim-process.ts'
import { Trace } from '../support/simulation/trace.ts'

const PORT = 7000

/** Two programs on two machines, one of which listens. */
class Scene {
  readonly scheduler = new Scheduler()
  readonly network = new SimNetwork(
    this.scheduler,
    seededRandom(7),
    new Trace(),
    calmProfile().route,
  )
  readonly server = this.program('server')
  readonly client = this.program('client')
  /** What happened, in order. */
  readonly log: string[] = []
  accepted: AcceptedWire | undefined

  program(name: string): SimProcess {
    return new SimProcess(name, this.scheduler, new MachineClock(this.scheduler, 0, 0))
  }

  async listen(): Promise<void> {
    const acceptor = this.network.acceptor(this.server, 'server')
    const options = { host: 'server', port: PORT, keepAliveMs: 0, failed: () => undefined }
    await acceptor.listen(options, wire => {
      this.accepted = wire
      return {
        received: (bytes, size) => this.log.push(`s:${utf8Decode(bytes.subarray(0, size))}`),
        drained: () => this.log.push('s:drained'),
        ended: () => this.log.push('s:ended'),
        closed: error => this.log.push(`s:closed${describeError(error)}`),
      }
    })
  }

  dial(): Wire {
    return this.network.connector(this.client, 'client').dial(
      { host: 'server', port: PORT },
      {
        opened: () => this.log.push('c:opened'),
        received: chunk => this.log.push(`c:${utf8Decode(chunk)}`),
        drained: () => this.log.push('c:drained'),
        closed: error => this.log.push(`c:closed${describeError(error)}`),
      },
    )
  }

  async pass(delayMs: number): Promise<void> {
    const endMs = this.scheduler.nowMs + delayMs
    this.scheduler.after(delayMs, () => undefined)
    await this.scheduler.run(() => this.scheduler.nowMs >= endMs)
  }

  /** What happened since it was asked last. */
  news(): string[] {
    return this.log.splice(0)
  }

  /** The same where the order is left to chance. */
  sortedNews(): string[] {
    return this.news().sort((a, b) => (a < b ? -1 : 1))
  }
}

function describeError(error: Error | undefined): string {
  if (error === undefined) return ''
  return ` ${'code' in error ? String(error.code) : error.message}`
}

async function connected(): Promise<{ scene: Scene; wire: Wire }> {
  const scene = new Scene()
  await scene.listen()
  const wire = scene.dial()
  await scene.pass(10)
  assert.deepEqual(scene.news(), ['c:opened'])
  return { scene, wire }
}

const bytes = utf8Encode

describe('time', () => {
  test('passes only when nothing is left to do', async () => {
    const scene = new Scene()
    const { clock } = scene.server
    let done = -1
    async function work(): Promise<void> {
      await delay(clock, 5)
      for (let turn = 0; turn < 50; turn++) await yieldToEventLoop()
      done = clock.monotonicMs()
    }
    const working = work()
    scene.scheduler.after(5.001, () => scene.log.push(`later ${done}`))
    await scene.pass(6)
    await working
    assert.deepEqual(scene.news(), ['later 5'])
  })

  test('ends with what an event threw, or nobody handled, or when it hangs', async () => {
    const thrown = new Scheduler()
    thrown.after(1, () => {
      throw new Error('thrown')
    })
    await assert.rejects(
      thrown.run(() => false),
      /thrown/,
    )
    await assert.rejects(
      new Scheduler().run(() => false),
      /hangs/,
    )
  })

  test('ends when nothing is waited for any more, but no time passes', async () => {
    const scheduler = new Scheduler()
    const again = (): void => {
      scheduler.after(0, again)
    }
    again()
    await assert.rejects(
      scheduler.run(() => false),
      /spins/,
    )
    const turning = new Scheduler()
    const turn = async (): Promise<void> => {
      for (;;) await yieldToEventLoop()
    }
    turning.after(1, () => void turn())
    await assert.rejects(
      turning.run(() => false),
      /spins/,
    )
  })

  test('runs at another rate on a machine whose clock is fast, and can be set', async () => {
    const scheduler = new Scheduler()
    const machine = new MachineClock(scheduler, 1000, 100_000)
    const { clock } = new SimProcess('p', scheduler, machine)
    const startMs = clock.wallMs()
    let firedMs = 0
    clock.setTimer(110, () => {
      firedMs = scheduler.nowMs
      machine.step(-500)
    })
    await scheduler.run(() => firedMs > 0)
    assert.equal(Math.round(firedMs), 100)
    assert.equal(Math.round(clock.wallMs() - startMs), 110 - 500)
    assert.equal(clock.monotonicMs() >= 110, true)
  })
})

describe('programs', () => {
  test('a paused one catches up in order, a dead one never', async () => {
    const scene = new Scene()
    const { server, log } = scene
    server.later(1, () => log.push('one'))
    server.later(2, () => log.push('two'))
    server.pause()
    await scene.pass(5)
    assert.deepEqual(scene.news(), [])
    server.later(0, () => log.push('three'))
    server.resume()
    await scene.pass(1)
    assert.deepEqual(scene.news(), ['one', 'two', 'three'])
    server.later(1, () => log.push('four'))
    server.kill()
    await scene.pass(5)
    assert.deepEqual(scene.news(), [])
  })
})

describe('machines', () => {
  test('let no file call of a program that ended take the place of one of the next', async () => {
    const scene = new Scene()
    const { scheduler, network } = scene
    const machine = new Machine(
      'm',
      { scheduler, network, trace: new Trace() },
      seededRandom(7),
      new MachineClock(scheduler, 0, 0),
      calmProfile().disk,
    )
    machine.disk.plant('/file', bytes('text'))
    const ends: readonly (CrashKind | 'ended')[] = ['ended', 'kill', 'power']
    for (let life = 0; life < 15; life++) {
      const end = ends[life % ends.length]!
      machine.start()
      const file = machine.disk.openSync('/file', 'readWrite')
      const read = async (what: string): Promise<void> => {
        await file.read(new Uint8Array(4), 0, 4, 0)
        scene.log.push(what)
      }
      void read(`read ${life}`)
      await scene.pass(1000)
      assert.deepEqual(scene.news(), [`read ${life}`])
      void read('too late')
      void file.write(bytes('TEXT'), 0, 4, 0)
      if (end === 'ended') machine.ended()
      else machine.crash(end)
      await scene.pass(1000)
      assert.deepEqual(scene.news(), [])
    }
  })
})

describe('connections', () => {
  test('carry bytes in order, and end on both sides', async () => {
    const { scene, wire } = await connected()
    for (const text of ['a', 'b', 'c']) wire.write(bytes(text))
    scene.accepted!.write(bytes('x'))
    wire.end()
    await scene.pass(10)
    assert.deepEqual(scene.sortedNews(), ['c:x', 's:a', 's:b', 's:c', 's:ended'])
    scene.accepted!.write(bytes('y'))
    scene.accepted!.end()
    await scene.pass(10)
    assert.deepEqual(scene.sortedNews(), ['c:closed', 'c:y', 's:closed'])
  })

  test('are refused where nobody listens, and hang where nothing arrives', async () => {
    const scene = new Scene()
    scene.dial()
    await scene.pass(10)
    assert.deepEqual(scene.news(), ['c:closed ECONNREFUSED'])
    await scene.listen()
    scene.network.cut('server', 'client')
    const wire = scene.dial()
    await scene.pass(5000)
    assert.deepEqual(scene.news(), [])
    wire.destroy()
    await scene.pass(1)
    assert.deepEqual(scene.news(), ['c:closed'])
  })

  test('wait while they are cut, one way or both, and lose nothing', async () => {
    const { scene, wire } = await connected()
    scene.network.cut('client', 'server')
    wire.write(bytes('late'))
    scene.accepted!.write(bytes('now'))
    await scene.pass(1000)
    assert.deepEqual(scene.news(), ['c:now'])
    scene.network.heal()
    await scene.pass(4000)
    assert.deepEqual(scene.news(), ['s:late'])
  })

  test('are not read while the program pauses them; the sender finds out', async () => {
    const { scene, wire } = await connected()
    scene.accepted!.pause()
    const large = new Uint8Array(200 * 1024).fill(0x2e)
    assert.equal(wire.write(large), true)
    assert.equal(wire.write(large), false)
    await scene.pass(100)
    assert.deepEqual(scene.news(), [])
    assert.equal(wire.backlogBytes > 0, true)
    scene.accepted!.resume()
    await scene.pass(100)
    assert.equal(wire.backlogBytes, 0)
    assert.deepEqual(
      scene.news().map(line => line.length),
      [2 + large.length, 'c:drained'.length, 2 + large.length],
    )
  })

  test('end when a program is killed, are reset when its machine comes back', async () => {
    const killed = await connected()
    killed.scene.server.kill()
    killed.scene.network.killed(killed.scene.server)
    await killed.scene.pass(10)
    assert.match(killed.scene.news().join(), /^c:closed( ECONNRESET)?$/)

    const { scene, wire } = await connected()
    scene.network.powerOff('server')
    scene.server.kill()
    wire.write(bytes('lost'))
    await scene.pass(60_000)
    assert.deepEqual(scene.news(), [])
    scene.network.powerOn('server')
    await scene.pass(10_000)
    assert.deepEqual(scene.news(), ['c:closed ECONNRESET'])
  })

  test('that break lose what was on its way', async () => {
    const { scene, wire } = await connected()
    wire.write(bytes('lost'))
    scene.network.resetOne()
    await scene.pass(10)
    wire.write(bytes('more'))
    scene.accepted!.write(bytes('more'))
    await scene.pass(1000)
    const ends = scene.sortedNews()
    assert.deepEqual(ends, ['c:closed ECONNRESET', 's:closed ECONNRESET'])
  })
})
