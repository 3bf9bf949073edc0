// Goal: links between nodes carry requests, messages and errors; they come back by themselves; what
// has not proven to belong is kept out with a clear reason; and of two processes that are the same
// node one stops.
// Method: nodes with nothing but links, over simulated wires on a simulated clock.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { LINK_BYTES_PER_SECOND } from '../../src/cluster/link-rate.ts'
import { PeerFlusher } from '../../src/cluster/peer-flusher.ts'
import { PeerFrame, writePeerFrame } from '../../src/cluster/peer-frame.ts'
import type { Boot } from '../../src/cluster/peer-hello.ts'
import { DEFAULT_PEER_LIMITS } from '../../src/cluster/peer-limits.ts'
import type { PeerLinks } from '../../src/cluster/peer-links.ts'
import { PeerStream } from '../../src/cluster/peer-stream.ts'
import type { Lane, PeerContext } from '../../src/cluster/peers.ts'
import { ProcessPauses } from '../../src/cluster/process-pauses.ts'
import { ClockSkewError, IoError, KvError } from '../../src/errors.ts'
import { silentLogger } from '../../src/logger.ts'
import { OutputBuffer } from '../../src/net/index.ts'
import { nodeIdOf, nonceOf, nonceOfTry, PeerHarness, startPeers } from '../support/peer-harness.ts'
import { SimClock } from '../support/sim-clock.ts'

const ECHO = 200
const FAIL = 201
const HANG = 202
const BUG = 203
const NOTE = 204
const SIZE = 205
const LANES: readonly Lane[] = ['urgent', 'data', 'bulk']

interface Seen {
  readonly notes: { readonly at: number; readonly text: string; readonly context: PeerContext }[]
}

function handlers(seen: Seen) {
  return (links: PeerLinks, index: number): void => {
    links.handle(ECHO, body => body.slice())
    links.handle(FAIL, async () => {
      throw new ClockSkewError('its clock is wrong', { serverTimeMs: 12 })
    })
    links.handle(HANG, () => new Promise(() => undefined))
    links.handle(BUG, () => {
      throw new TypeError('a bug')
    })
    links.handle(NOTE, (body, context) => {
      seen.notes.push({ at: index, text: utf8Decode(body), context })
      return new Uint8Array(0)
    })
  }
}

/** Four bytes. */
function sizeOf(body: Uint8Array): Uint8Array {
  return new Uint8Array(Uint32Array.of(body.length).buffer)
}

async function startThree(seen: Seen = { notes: [] }): Promise<PeerHarness> {
  return startPeers(3, { handle: handlers(seen), epoch: index => index + 1 })
}

async function errorOf(promise: Promise<unknown>): Promise<KvError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof KvError, `it fails with an error of ours, not ${String(error)}`)
  return error
}

describe('links', () => {
  test('carry requests, answers and errors on every lane, both ways', async () => {
    const peers = await startThree()
    const [a, b] = peers.ids as [string, string, string]
    for (const lane of LANES) {
      for (const [from, to] of [
        [0, b],
        [1, a],
      ] as const) {
        const links = peers.links[from]!
        const body = utf8Encode(`hello on ${lane}`)
        const answer = await peers.settle(links.request(to, lane, ECHO, body, 1000))
        assert.deepEqual(answer, body)
        const empty = await peers.settle(links.request(to, lane, ECHO, new Uint8Array(0), 1000))
        assert.equal(empty.length, 0)
        const error = await peers.settle(errorOf(links.request(to, lane, FAIL, body, 1000)))
        assert.equal(error.code, 'KV_CLOCK_SKEW')
        assert.equal(error.message, 'its clock is wrong')
        assert.equal((error as ClockSkewError).serverTimeMs, 12)
        const unknown = await peers.settle(errorOf(links.request(to, lane, 250, body, 1000)))
        assert.equal(unknown.code, 'KV_PROTOCOL')
        const bug = await peers.settle(errorOf(links.request(to, lane, BUG, body, 1000)))
        assert.equal(bug.code, 'KV_INTERNAL')
      }
    }
    assert.ok(peers.log.some(line => /error .*bug/.test(line)))
    await peers.close()
  })

  test('tell the handler who asks, by when, and of which epoch', async () => {
    const seen: Seen = { notes: [] }
    const peers = await startThree(seen)
    const [a, b] = peers.ids as [string, string, string]
    const sentMs = peers.clock.monotonicMs()
    assert.equal(peers.links[0]!.send(b, 'urgent', NOTE, utf8Encode('one')), true)
    await peers.settle(peers.links[2]!.request(b, 'bulk', NOTE, utf8Encode('two'), 500))
    const [one, two] = seen.notes
    assert.deepEqual([one?.at, one?.text, one?.context.from], [1, 'one', a])
    assert.equal(one?.context.deadlineMs, Number.POSITIVE_INFINITY)
    assert.equal(one?.context.epoch, 1)
    assert.equal(two?.context.from, peers.ids[2])
    assert.equal(two?.context.epoch, 3)
    const leftMs = two!.context.deadlineMs - sentMs
    assert.ok(leftMs >= 500 && leftMs <= 510, `${leftMs} ms`)
    await peers.close()
  })

  test('tell of later epochs, once', async () => {
    const peers = await startThree()
    const heard: string[] = []
    peers.links[0]!.onEpoch((peer, epoch) => heard.push(`${peers.ids.indexOf(peer)}:${epoch}`))
    for (let round = 0; round < 3; round++) {
      for (const id of peers.ids.slice(1)) {
        await peers.settle(peers.links[0]!.request(id, 'data', ECHO, new Uint8Array(1), 100))
      }
    }
    assert.deepEqual(
      heard.toSorted((a, b) => a.localeCompare(b)),
      ['1:2', '2:3'],
    )
    await peers.close()
  })

  test('send what one tick has to say in one write', async () => {
    const peers = await startThree()
    const { wires } = peers
    const [, b] = peers.ids as [string, string, string]
    const before = wires.writes
    const calls = Array.from({ length: 50 }, () =>
      peers.links[0]!.request(b, 'data', ECHO, new Uint8Array(10), 1000),
    )
    await peers.settle(Promise.all(calls))
    assert.equal(wires.writes - before, 2, 'one there, one back')
    await peers.close()
  })

  test('give up an answer at its deadline, and drop it when it comes late', async () => {
    const peers = await startThree()
    const [, b] = peers.ids as [string, string, string]
    const startMs = peers.clock.monotonicMs()
    const error = await peers.settle(
      errorOf(peers.links[0]!.request(b, 'data', HANG, new Uint8Array(0), 300)),
    )
    assert.equal(error.code, 'KV_TIMEOUT')
    assert.match(error.message, /within 300 ms/)
    assert.equal(peers.clock.monotonicMs() - startMs, 300)
    peers.wires.silence('10.0.0.2', '10.0.0.1')
    const late = peers.links[0]!.request(b, 'data', ECHO, new Uint8Array(0), 300)
    assert.equal((await peers.settle(errorOf(late))).code, 'KV_TIMEOUT')
    peers.wires.hear('10.0.0.2', '10.0.0.1')
    const body = utf8Encode('next')
    assert.deepEqual(await peers.settle(peers.links[0]!.request(b, 'data', ECHO, body, 300)), body)
    await peers.close()
  })

  test('refuse at once what they cannot send', async () => {
    const peers = await startPeers(2, { handle: handlers({ notes: [] }), linked: false })
    const [, b] = peers.ids as [string, string]
    const [links] = peers.links as [PeerLinks, PeerLinks]
    const stranger = await errorOf(links.request(b, 'data', ECHO, new Uint8Array(0), 100))
    assert.equal(stranger.code, 'KV_UNAVAILABLE')
    assert.equal(stranger.outcome, 'rejected')
    assert.equal(links.send(b, 'data', ECHO, new Uint8Array(0)), false)
    peers.introduce()
    const early = await errorOf(links.request(b, 'data', ECHO, new Uint8Array(0), 100))
    assert.equal(early.code, 'KV_UNAVAILABLE')
    await peers.close()
    const closed = await errorOf(links.request(b, 'data', ECHO, new Uint8Array(0), 100))
    assert.equal(closed.code, 'KV_UNAVAILABLE')
  })

  test('bound what waits for a node that does not take it', async () => {
    const limits = { laneBytesMax: 1024 * 1024 }
    const peers = await startPeers(2, { handle: handlers({ notes: [] }), limits })
    const [a, b] = peers.ids as [string, string]
    const [links] = peers.links as [PeerLinks, PeerLinks]
    peers.wires.silence('10.0.0.1', '10.0.0.2')
    const body = new Uint8Array(100 * 1024)
    let sent = 0
    while (links.send(b, 'bulk', NOTE, body)) sent++
    assert.ok(sent >= 10 && sent <= 14, `${sent} were taken, with what the kernels hold`)
    assert.ok(links.backlogBytes(b, 'bulk') <= limits.laneBytesMax)
    assert.ok(links.backlogBytes(b, 'bulk') > limits.laneBytesMax - 2 * body.length)
    const error = await errorOf(links.request(b, 'bulk', ECHO, body, 100))
    assert.equal(error.code, 'KV_UNAVAILABLE')
    assert.equal(links.backlogBytes(b, 'data'), 0, 'the other lanes are free')
    assert.equal(links.send(b, 'data', NOTE, utf8Encode('urgent')), true)
    peers.wires.hear('10.0.0.1', '10.0.0.2')
    await peers.until(() => links.backlogBytes(b, 'bulk') === 0, 'it was taken')
    assert.ok(peers.links[1]!.isLinked(a))
    await peers.close()
  })
})

describe('a link on which something large goes out', () => {
  const LARGE = 22 * 1024 * 1024

  async function startNarrow(): Promise<PeerHarness> {
    const bytesPerSecond = LINK_BYTES_PER_SECOND
    const handle = (links: PeerLinks): void => links.handle(SIZE, sizeOf)
    return startPeers(2, { bytesPerSecond, handle })
  }

  for (const lane of ['data', 'bulk'] as const) {
    test(`stays, on lane ${lane}, though nothing comes meanwhile`, async () => {
      const peers = await startNarrow()
      const [, b] = peers.ids as [string, string]
      const { dialled } = peers.wires
      const beganMs = peers.clock.monotonicMs()
      const call = peers.links[0]!.request(b, lane, SIZE, new Uint8Array(LARGE), 30_000)
      assert.deepEqual(await peers.settle(call), sizeOf(new Uint8Array(LARGE)))
      assert.ok(peers.clock.monotonicMs() - beganMs > DEFAULT_PEER_LIMITS.silentMaxMs)
      assert.equal(peers.wires.dialled, dialled, 'nothing was dialled again')
      await peers.close()
    })
  }

  test('is closed when the other node is gone, though pings are sent on', async () => {
    const peers = await startNarrow()
    const [, b] = peers.ids as [string, string]
    const call = errorOf(peers.links[0]!.request(b, 'data', SIZE, new Uint8Array(LARGE), 60_000))
    await peers.clock.advanceAsync(5000)
    peers.wires.silence('10.0.0.1', '10.0.0.2')
    const leftMs = DEFAULT_PEER_LIMITS.silentMaxMs + 1000
    await peers.until(() => !peers.links[0]!.isLinked(b), 'it was noticed', leftMs)
    await call
    await peers.close()
  })
})

describe('who falls silent', () => {
  async function startPair(): Promise<{
    peers: PeerHarness
    changes: boolean[]
    links: PeerLinks
  }> {
    const peers = await startPeers(2, { handle: handlers({ notes: [] }) })
    const [links] = peers.links as [PeerLinks]
    const changes: boolean[] = []
    links.onAnswering(peer => changes.push(links.isAnswering(peer)))
    return { peers, changes, links }
  }

  test('is not counted on soon after it was asked, and again when it is heard', async () => {
    const { peers, changes, links } = await startPair()
    const [, b] = peers.ids as [string, string]
    await peers.clock.advanceAsync(3000)
    peers.wires.silence('10.0.0.2', '10.0.0.1')
    const beganMs = peers.clock.monotonicMs()
    const call = errorOf(links.request(b, 'data', HANG, new Uint8Array(0), 10_000))
    await peers.until(() => !links.isAnswering(b), 'it was noticed')
    const tookMs = peers.clock.monotonicMs() - beganMs
    assert.ok(tookMs >= 750 && tookMs <= 1500, `after ${tookMs} ms`)
    assert.ok(links.isLinked(b), 'long before the link is closed')
    peers.wires.hear('10.0.0.2', '10.0.0.1')
    await peers.until(() => links.isAnswering(b), 'it was heard', 300)
    assert.deepEqual(changes, [false, true])
    await peers.close()
    await call
  })

  test('is not who takes long and lives, nor who is asked nothing', async () => {
    const { peers, changes, links } = await startPair()
    const [, b] = peers.ids as [string, string]
    const call = errorOf(links.request(b, 'data', HANG, new Uint8Array(0), 10_000))
    await peers.clock.advanceAsync(12_000)
    assert.equal((await call).code, 'KV_TIMEOUT')
    peers.wires.silence('10.0.0.2', '10.0.0.1')
    await peers.clock.advanceAsync(3000)
    assert.deepEqual(changes, [])
    await peers.close()
  })

  test('is not the other one when this process is held up', async () => {
    const { peers, changes, links } = await startPair()
    const [, b] = peers.ids as [string, string]
    const call = errorOf(links.request(b, 'data', HANG, new Uint8Array(0), 60_000))
    // What it would have heard meanwhile lies unread.
    peers.wires.silence('10.0.0.2', '10.0.0.1')
    for (let round = 0; round < 7; round++) {
      peers.clock.jump(500)
      await peers.clock.advanceAsync(1, 1)
    }
    peers.wires.hear('10.0.0.2', '10.0.0.1')
    await peers.clock.advanceAsync(300)
    assert.deepEqual(changes, [])
    await peers.close()
    await call
  })
})

describe('links come back', () => {
  test('after they broke, and calls under way are in doubt', async () => {
    const peers = await startThree()
    const [, b] = peers.ids as [string, string, string]
    const changes: boolean[] = []
    const stop = peers.links[0]!.onLink((peer, isLinked) => {
      if (peer === b) changes.push(isLinked)
    })
    const call = errorOf(peers.links[0]!.request(b, 'data', HANG, new Uint8Array(0), 10_000))
    await peers.clock.advanceAsync(5)
    peers.wires.reset('10.0.0.2')
    assert.equal((await peers.settle(call)).code, 'KV_CLOSED')
    assert.deepEqual(changes, [false])
    await peers.until(() => peers.isComplete, 'all are linked again', 2000)
    assert.deepEqual(changes, [false, true])
    stop()
    await peers.close()
  })

  for (const [from, to] of [
    ['10.0.0.1', '10.0.0.2'],
    ['10.0.0.2', '10.0.0.1'],
  ] as const) {
    test(`after silence from ${from} to ${to} alone`, async () => {
      const peers = await startThree()
      const [a, b] = peers.ids as [string, string, string]
      peers.wires.silence(from, to)
      const both = (): boolean => !peers.links[0]!.isLinked(b) && !peers.links[1]!.isLinked(a)
      await peers.until(both, 'both noticed', 5000)
      assert.ok(peers.links[0]!.isLinked(peers.ids[2]!), 'others are linked still')
      await peers.clock.advanceAsync(30_000)
      peers.wires.hear(from, to)
      await peers.until(() => peers.isComplete, 'all are linked again', 15_000)
      await peers.close()
    })
  }

  test('with an idle link kept alive by pings', async () => {
    const peers = await startThree()
    const { dialled } = peers.wires
    await peers.clock.advanceAsync(60_000)
    assert.equal(peers.wires.dialled, dialled, 'nothing was dialled again')
    assert.ok(peers.isComplete)
    await peers.close()
  })

  test('but a process that was held up itself blames nobody', async () => {
    const peers = await startThree()
    const { dialled } = peers.wires
    // All timers of half a minute are due at once.
    peers.clock.jump(30_000)
    await peers.clock.advanceAsync(2000)
    assert.equal(peers.wires.dialled, dialled)
    await peers.close()
  })

  test('to a node that returns at another address', async () => {
    const peers = await startThree()
    const [, b] = peers.ids as [string, string, string]
    await peers.settle(peers.links[1]!.close())
    await peers.until(() => !peers.links[0]!.isLinked(b), 'it was noticed')
    await peers.clock.advanceAsync(60_000)
    const index = await peers.start({
      nodeId: b,
      host: '10.0.0.77',
      boot: { generation: 2, nonce: nonceOf(9) },
    })
    const { links, ids, hosts } = peers
    // It knows the ring; the ring has its old address still.
    const members = [0, 1, 2].map(at => ({ nodeId: ids[at]!, peerAddress: `${hosts[at]}:7701` }))
    links[index]!.setMembers(members, [])
    const met = (): boolean => links[0]!.isLinked(b) && links[2]!.isLinked(b)
    await peers.until(met, 'the others found it', 1000)
    links.splice(1, 1)
    await peers.close()
  })
})

describe('nodes that have changed places', () => {
  for (const count of [3, 5]) {
    test(`find each other again: ${count}, each where another one was`, async () => {
      const peers = new PeerHarness({ handle: handlers({ notes: [] }) })
      for (let index = 0; index < count; index++) await peers.start()
      const members = peers.ids.map((nodeId, index) => ({
        nodeId,
        peerAddress: peers.addressOf((index + 1) % count),
      }))
      for (const links of peers.links) links.setMembers(members, [])
      await peers.until(() => peers.isComplete, 'all are linked', 2000)
      await peers.close()
    })
  }

  test('are not believed to, without the secret, and are not met without pause', async () => {
    const peers = new PeerHarness({ handle: handlers({ notes: [] }) })
    await peers.start()
    await peers.start({ nodeId: nodeIdOf(2), secret: new Uint8Array(32).fill(8) })
    const [at, elsewhere] = [peers.addressOf(1), '10.0.0.99:7701']
    const gone = [
      { nodeId: nodeIdOf(1), peerAddress: at },
      { nodeId: nodeIdOf(2), peerAddress: elsewhere },
    ]
    peers.links[0]!.setMembers(gone, [])
    await peers.clock.advanceAsync(20_000)
    const { dialled } = peers.wires
    await peers.clock.advanceAsync(60_000)
    assert.equal(peers.links[0]!.isLinked(nodeIdOf(2)), false)
    // Three lanes each, and a meeting for each attempt at the first.
    assert.ok(peers.wires.dialled - dialled <= 9 * 25, `${peers.wires.dialled - dialled} dials`)
    assert.ok(peers.log.length <= 12, `${peers.log.length} lines of log are too many`)
    await peers.close()
  })
})

describe('what does not belong is kept out:', () => {
  async function pair(start: Parameters<PeerHarness['start']>[0]): Promise<PeerHarness> {
    const peers = new PeerHarness({ handle: handlers({ notes: [] }) })
    await peers.start()
    await peers.start(start)
    peers.introduce()
    await peers.clock.advanceAsync(20_000)
    assert.equal(peers.links[0]!.isLinked(peers.ids[1]!), false)
    assert.equal(peers.links[1]!.isLinked(peers.ids[0]!), false)
    const { dialled } = peers.wires
    await peers.clock.advanceAsync(60_000)
    assert.ok(peers.wires.dialled - dialled <= 6 * 25, 'it is not dialled without pause')
    assert.ok(peers.log.length <= 12, `${peers.log.length} lines of log are too many`)
    return peers
  }

  test('another secret', async () => {
    const peers = await pair({ secret: new Uint8Array(32).fill(8) })
    assert.ok(peers.log.some(line => /^0 warn .*another cluster secret/.test(line)))
    assert.ok(peers.log.some(line => /^1 warn .*another cluster secret/.test(line)))
    const call = peers.links[0]!.request(peers.ids[1]!, 'data', ECHO, new Uint8Array(0), 100)
    assert.match((await errorOf(call)).message, /another cluster secret/)
    await peers.close()
  })

  test('another cluster', async () => {
    const peers = await pair({ clusterId: 'd2'.repeat(16) })
    assert.ok(peers.log.some(line => /^0 warn .*clusters are never merged/.test(line)))
    assert.equal(peers.log.filter(line => /^0 warn .*cannot be reached/.test(line)).length, 1)
    await peers.close()
  })

  test('a node that was removed, though it knows the secret', async () => {
    const peers = await startThree()
    const [a, b, c] = peers.ids as [string, string, string]
    const members = [0, 1].map(at => ({ nodeId: peers.ids[at]!, peerAddress: peers.addressOf(at) }))
    peers.links[0]!.setMembers(members, [c])
    peers.links[1]!.setMembers(members, [c])
    await peers.until(() => !peers.links[2]!.isLinked(a) && !peers.links[2]!.isLinked(b), 'out')
    await peers.clock.advanceAsync(20_000)
    assert.equal(peers.links[2]!.isLinked(a), false)
    assert.ok(peers.links[0]!.isLinked(b))
    assert.ok(peers.log.some(line => /^2 error this node was removed/.test(line)))
    assert.equal(peers.fenced[2], undefined)
    await peers.close()
  })

  test('another node at the address of a member', async () => {
    const peers = new PeerHarness({ handle: handlers({ notes: [] }) })
    await peers.start()
    await peers.start({ nodeId: nodeIdOf(7) })
    const wanted = [{ nodeId: nodeIdOf(1), peerAddress: peers.addressOf(1) }]
    peers.links[0]!.setMembers(wanted, [])
    await peers.clock.advanceAsync(5000)
    assert.equal(peers.links[0]!.isLinked(nodeIdOf(1)), false)
    assert.ok(peers.log.some(line => /^0 warn .*was looked for/.test(line)))
    await peers.close()
  })

  for (const [name, older, newer] of [
    [
      'an earlier start',
      { generation: 4, nonce: nonceOf(5) },
      { generation: 5, nonce: nonceOf(1) },
    ],
    [
      'an earlier try',
      { generation: 5, nonce: nonceOfTry(1) },
      { generation: 5, nonce: nonceOfTry(2) },
    ],
    ['a copied disk', { generation: 5, nonce: nonceOf(1) }, { generation: 5, nonce: nonceOf(5) }],
  ] as const) {
    for (const order of ['first', 'last'] as const) {
      // Of copies that are the same start the one stays that was met first.
      if (name === 'a copied disk' && order === 'first') continue
      test(`a second process of the same node: ${name} that came ${order}`, async () => {
        const peers = new PeerHarness({ handle: handlers({ notes: [] }) })
        for (let index = 0; index < 3; index++) await peers.start()
        const nodeId = nodeIdOf(9)
        const boots = order === 'first' ? [older, newer] : [newer, older]
        const members = [0, 1, 2].map(at => ({
          nodeId: peers.ids[at]!,
          peerAddress: peers.addressOf(at),
        }))
        for (const [at, boot] of boots.entries()) {
          const index = await peers.start({ nodeId, boot, host: `10.0.9.${at}` })
          members.push({ nodeId, peerAddress: peers.addressOf(index) })
          const known = [...members.slice(0, 3), members.at(-1)!]
          for (const links of [...peers.links.slice(0, 3), peers.links[index]!]) {
            links.setMembers(known, [])
          }
          await peers.clock.advanceAsync(3000)
        }
        const loser = boots.indexOf(older) + 3
        const winner = boots.indexOf(newer) + 3
        assert.match(peers.fenced[loser]?.message ?? '', /this node stops/)
        assert.equal(peers.fenced[loser]?.code, 'KV_LOCKED')
        assert.equal(peers.fenced[winner], undefined)
        for (let at = 0; at < 3; at++) {
          assert.equal(peers.fenced[at], undefined)
          assert.ok(peers.links[winner]!.isLinked(peers.ids[at]!), `the later is linked to ${at}`)
          assert.equal(peers.links[loser]!.isLinked(peers.ids[at]!), false)
        }
        const call = peers.links[loser]!.request(peers.ids[0]!, 'data', ECHO, new Uint8Array(0), 9)
        assert.equal((await errorOf(call)).code, 'KV_UNAVAILABLE')
        await peers.close()
      })
    }
  }
})

test('what is large counts as arriving while it does, and not when it stands still', () => {
  const clock = new SimClock()
  const output = new OutputBuffer(1024)
  writePeerFrame(output, PeerFrame.reply, 0, 1, 1, new Uint8Array(300_000))
  const large = output.written.slice()
  output.reset()
  writePeerFrame(output, PeerFrame.reply, 0, 1, 1, new Uint8Array(30_000))
  const small = output.written.slice()
  const stream = new PeerStream(
    {
      ...{ clock, logger: silentLogger, flusher: new PeerFlusher() },
      budget: { reserve: () => true, release: () => undefined },
      stats: { bytesSent: 0, bytesReceived: 0 },
      frameSizeMax: 1024 * 1024,
    },
    { frame: () => undefined, streamClosed: () => undefined },
  )
  const isArriving = (waitMs: number, bytes: Uint8Array): boolean => {
    clock.advance(waitMs)
    stream.received(bytes, bytes.length)
    return stream.isReceivingLarge(clock.monotonicMs())
  }
  assert.equal(isArriving(0, small.subarray(0, 20_000)), false, 'it holds up nothing')
  assert.equal(isArriving(0, small.subarray(20_000)), false)
  for (let at = 0; at < large.length; at += 60_000) {
    const isLast = at + 60_000 >= large.length
    assert.equal(isArriving(300, large.subarray(at, at + 60_000)), !isLast, `from ${at} on`)
  }
  assert.equal(isArriving(0, large.subarray(0, 60_000)), true)
  clock.advance(600)
  assert.equal(stream.isReceivingLarge(clock.monotonicMs()), false, 'it does not come')
  assert.equal(isArriving(600, large.subarray(60_000, 61_000)), true)
})

test('a node that stops and cannot give up its port says so', async () => {
  const peers = new PeerHarness({ handle: handlers({ notes: [] }) })
  await peers.start()
  const acceptor = peers.wires.acceptor.bind(peers.wires)
  peers.wires.acceptor = host => ({
    async listen(options, accept) {
      const { address } = await acceptor(host).listen(options, accept)
      return { address, close: () => Promise.reject(new IoError('the port stays')) }
    },
  })
  const nodeId = nodeIdOf(9)
  const copies = [4, 5].map(generation => ({ generation, nonce: nonceOf(generation) }))
  for (const [at, boot] of copies.entries()) {
    const index = await peers.start({ nodeId, boot, host: `10.0.9.${at}` })
    const known = [0, index].map(member => ({
      nodeId: peers.ids[member]!,
      peerAddress: peers.addressOf(member),
    }))
    for (const links of [peers.links[0]!, peers.links[index]!]) links.setMembers(known, [])
    await peers.clock.advanceAsync(3000)
  }
  assert.equal(peers.fenced[1]?.code, 'KV_LOCKED')
  const said = peers.log.filter(line => /^1 error the port of a node that stops stays/.test(line))
  assert.equal(said.length, 1)
})

test('what may have waited for longer than its sender, while the process stood still, is told', () => {
  const pauses = new ProcessPauses(250)
  assert.equal(pauses.deadlineMs(5, 100), 105, 'before anybody looks')
  for (const nowMs of [1000, 1250, 1700, 2000]) {
    assert.ok(pauses.look(nowMs) < 300)
    assert.equal(pauses.deadlineMs(nowMs + 10, 100), nowMs + 110)
  }
  // Read before the look that is late: what was sent meanwhile may be as old as that.
  assert.equal(pauses.deadlineMs(32_250, 2000), undefined)
  assert.equal(pauses.deadlineMs(32_250, 30_000), undefined)
  assert.equal(pauses.deadlineMs(32_250, 31_000), 33_250)
  assert.equal(pauses.deadlineMs(32_250, 0), Number.POSITIVE_INFINITY)
  assert.equal(pauses.look(32_250), 30_000)
  assert.equal(pauses.deadlineMs(32_260, 2000), undefined, 'and soon after it')
  assert.equal(pauses.deadlineMs(32_350, 2000), 34_350)
})

interface CopiedNode {
  readonly original: Boot
  readonly copy: Boot
  /** True: the original has told that most members took its start. */
  readonly isTaken?: boolean
}

/** One member has met the original, and is gone; another one, that heard of it, meets the copy. */
async function assertCopyRefused({ original, copy, isTaken = false }: CopiedNode): Promise<void> {
  const peers = new PeerHarness({ handle: handlers({ notes: [] }) })
  for (let index = 0; index < 2; index++) await peers.start()
  const nodeId = nodeIdOf(9)
  const at = (index: number, peerAddress = peers.addressOf(index)) => ({
    nodeId: peers.ids[index]!,
    peerAddress,
  })
  const it = await peers.start({ nodeId, boot: original, host: '10.0.9.1' })
  peers.links[0]!.setMembers([at(0), at(1), at(it)], [])
  peers.links[it]!.setMembers([at(0), at(it)], [])
  // The other one does not reach it.
  peers.links[1]!.setMembers([at(0), at(1), at(it, '10.0.9.9:7701')], [])
  await peers.clock.advanceAsync(3000)
  if (isTaken) peers.links[it]!.startTaken()
  await peers.clock.advanceAsync(1000)
  assert.ok(peers.links[0]!.isLinked(nodeId), 'its link stays')
  for (const index of [0, it]) await peers.settle(peers.links[index]!.close())
  const copied = await peers.start({ nodeId, boot: copy, host: '10.0.9.2' })
  peers.links[copied]!.setMembers([at(0), at(1), at(copied)], [])
  peers.links[1]!.setMembers([at(0), at(1), at(copied)], [])
  await peers.clock.advanceAsync(3000)
  assert.equal(peers.fenced[copied]?.code, 'KV_LOCKED')
  assert.equal(peers.links[1]!.isLinked(nodeId), false)
  await peers.close()
}

const START = { generation: 5, nonce: nonceOfTry(2) }

/** The try of that number, in another process. */
function copyOfTry(number: number): Boot {
  return { ...START, nonce: `${nonceOfTry(number).slice(0, -8)}ffffffff` }
}

describe('a copy of a node that this one has never met', () => {
  test('is refused when another member had met the node, and is gone by now', async () => {
    const [original, copy] = [1, 2].map(id => ({ generation: 5, nonce: nonceOf(id) }))
    await assertCopyRefused({ original: original!, copy: copy! })
  })

  test('is refused when it was made before the start of the node was taken', async () => {
    await assertCopyRefused({ original: START, copy: copyOfTry(2) })
  })

  test('is refused, started more often than the node, which is known to be taken', async () => {
    await assertCopyRefused({ original: START, copy: copyOfTry(3), isTaken: true })
  })
})

describe('a node that is no member', () => {
  test('is met at an address, and linked to', async () => {
    const peers = await startPeers(2, { handle: handlers({ notes: [] }), linked: false })
    const [a, b] = peers.ids as [string, string]
    assert.equal(await peers.settle(peers.links[0]!.meet(peers.addressOf(1))), b)
    const body = utf8Encode('may I join?')
    for (const lane of LANES) {
      const answer = await peers.settle(peers.links[0]!.request(b, lane, ECHO, body, 100))
      assert.deepEqual(answer, body)
    }
    assert.equal(await peers.settle(peers.links[0]!.meet(peers.addressOf(1))), b, 'and again')
    const self = await peers.settle(errorOf(peers.links[0]!.meet(peers.addressOf(0))))
    assert.match(self.message, /itself is at this address/)
    const nobody = await peers.settle(errorOf(peers.links[0]!.meet('10.0.0.99:7701')))
    assert.equal(nobody.code, 'KV_UNAVAILABLE')
    assert.equal(peers.links[1]!.isLinked(a), false, 'it does not dial back')
    await peers.close()
  })

  test('is not dialled for ever', async () => {
    const peers = await startPeers(2, { handle: handlers({ notes: [] }), linked: false })
    await peers.settle(peers.links[0]!.meet(peers.addressOf(1)))
    await peers.settle(peers.links[1]!.close())
    await peers.clock.advanceAsync(60_000)
    const { dialled } = peers.wires
    await peers.clock.advanceAsync(60_000)
    assert.equal(peers.wires.dialled, dialled)
    await peers.close()
  })
})
