// Goal: accepted sockets are read into one buffer for all, nothing that was not looked at is lost
// to the next reader, and where Node does not play along sockets work as Node gives them.
// Method: real sockets; then ones that hide their handle, or get their data as other streams do.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { readShared } from '../../src/net/shared-read.ts'

/** A connection; `onAccept` runs within the tick in which it was accepted. */
async function pairOf<T>(
  t: TestContext,
  onAccept: (accepted: Socket) => T,
): Promise<{ client: Socket; result: T }> {
  const server = createServer({ allowHalfOpen: true })
  const accepting = new Promise<T>(resolve => {
    server.once('connection', accepted => resolve(onAccept(accepted)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const client = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true })
  const result = await accepting
  t.after(() => client.destroy())
  server.close()
  return { client, result }
}

/** What a socket got, as text, and the buffers it came in. */
class Reading {
  text = ''
  readonly buffers = new Set<ArrayBufferLike>()
  readonly socket: Socket
  ended = false
  #wake: () => void = () => undefined

  constructor(accepted: Socket, shared: Uint8Array) {
    this.socket = readShared(accepted, shared, (bytes, size) => {
      this.text += Buffer.from(bytes.subarray(0, size)).toString()
      this.buffers.add(bytes.buffer)
      this.#wake()
    })
    this.socket.on('end', () => {
      this.ended = true
      this.#wake()
    })
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }
}

/** Writes, pauses, resumes and half-closes, as a connection does. */
async function converse(reading: Reading, client: Socket): Promise<void> {
  const { socket } = reading
  client.write('one')
  await reading.until(() => reading.text === 'one')
  socket.pause()
  client.write('two')
  let answered = ''
  client.on('data', chunk => {
    answered += chunk.toString()
  })
  socket.write('reply')
  while (answered !== 'reply') await once(client, 'data')
  assert.equal(reading.text, 'one', 'a paused socket is not read')
  socket.resume()
  await reading.until(() => reading.text === 'onetwo')
  client.end('three')
  await reading.until(() => reading.ended)
  assert.equal(reading.text, 'onetwothree')
  assert.equal(client.destroyed, false, 'the other half is open still')
  socket.end('bye')
  await Promise.all([once(socket, 'close'), once(client, 'close')])
  assert.equal(answered, 'replybye')
}

describe('reading accepted sockets', () => {
  test('uses one buffer for all of them', async t => {
    const shared = new Uint8Array(64)
    const pairs = await Promise.all(
      Array.from({ length: 3 }, () => pairOf(t, accepted => new Reading(accepted, shared))),
    )
    await Promise.all(pairs.map(({ result, client }) => converse(result, client)))
    for (const { result } of pairs) assert.deepEqual([...result.buffers], [shared.buffer])
  })

  test('works without a handle to move', async t => {
    const shared = new Uint8Array(64)
    const { client, result } = await pairOf(t, accepted => {
      // Hidden for one look.
      Object.defineProperty(accepted, '_handle', {
        configurable: true,
        get() {
          Reflect.deleteProperty(accepted, '_handle')
          return undefined
        },
      })
      const reading = new Reading(accepted, shared)
      assert.equal(reading.socket, accepted)
      return reading
    })
    await converse(result, client)
    assert.equal(result.buffers.has(shared.buffer), false)
  })

  test('takes what comes as events though it asked for its buffer', async t => {
    const shared = new Uint8Array(64)
    const { result } = await pairOf(t, accepted => new Reading(accepted, shared))
    result.socket.push(Buffer.from('pushed'))
    await result.until(() => result.text === 'pushed')
    result.socket.destroy()
  })

  test('closes nothing but what is left of the accepted socket', async t => {
    const shared = new Uint8Array(64)
    let left: Socket | undefined
    const { client, result } = await pairOf(t, accepted => {
      left = accepted
      return new Reading(accepted, shared)
    })
    assert.ok(left !== undefined && left !== result.socket)
    if (!left.closed) await once(left, 'close')
    client.write('still there')
    await result.until(() => result.text === 'still there')
    result.socket.destroy()
  })
})
