// Goal: the judge of chaos runs finds every write that is lost and none that is not, and its
// clients speak Redis Cluster's protocol where it counts.
// Method: short histories of one key, each with the values that may be found; a known CRC; a server
// that answers what the test wants, in pieces.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { describe, test } from 'node:test'
import { valueText, WriteHistory } from '../support/chaos/history.ts'
import { RedisConnection, RedisError, slotOf } from '../support/chaos/redis-client.ts'
import { chaosTable } from '../support/chaos/report.ts'

describe('the history of a key', () => {
  const judged = (history: WriteHistory, ...numbers: (number | undefined)[]): string[] =>
    numbers.map(number => history.judge(0, number === undefined ? number : valueText(0, number)))

  test('demands the last acknowledged write', () => {
    const history = new WriteHistory(1)
    assert.deepEqual(judged(history, undefined), ['right'])
    for (let count = 0; count < 2; count++) history.acknowledged(0, history.begin(0))
    assert.deepEqual(judged(history, undefined, 1, 2), ['lost', 'lost', 'right'])
    assert.equal(history.judge(0, 'something'), 'foreign')
    assert.equal(history.judge(0, valueText(1, 2)), 'foreign')
  })

  test('allows writes of unknown outcome until a later one is acknowledged', () => {
    const history = new WriteHistory(1)
    history.acknowledged(0, history.begin(0))
    history.failed(0, history.begin(0), true)
    history.failed(0, history.begin(0), false)
    history.failed(0, history.begin(0), true)
    assert.deepEqual(judged(history, 1, 2, 3, 4), ['right', 'right', 'lost', 'right'])
    history.acknowledged(0, history.begin(0))
    assert.deepEqual(judged(history, 1, 2, 4, 5), ['lost', 'lost', 'lost', 'right'])
    assert.deepEqual(history.written(), [0])
  })
})

test('slots are those of Redis Cluster', () => {
  assert.equal(slotOf('123456789'), 0x31c3)
  assert.equal(slotOf(''), 0)
})

test('replies of Redis are read however they are cut', async () => {
  const text = '+OK\r\n$3\r\nabc\r\n$-1\r\n-MOVED 1 127.0.0.1:2\r\n*2\r\n:7\r\n*1\r\n$1\r\nx\r\n'
  const server = createServer(socket => {
    socket.once('data', () => {
      for (const character of text) socket.write(character)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const connection = new RedisConnection((server.address() as AddressInfo).port)
  const replies = await Promise.all(['a', 'b', 'c', 'd', 'e'].map(word => connection.call(word)))
  assert.deepEqual(replies.slice(0, 3), ['OK', 'abc', null])
  assert.ok(replies[3] instanceof RedisError && replies[3].message.startsWith('MOVED'))
  assert.deepEqual(replies[4], [7, ['x']])
  connection.fail(new Error('done'))
  await assert.rejects(connection.call('f'), /done/)
  server.close()
})

test('the table has a line for each scenario, also one without load', () => {
  const rest = {
    lost: 1,
    behind: 0,
    foreign: 0,
    wholeMs: 100,
    hintsMs: undefined,
    owedAtEnd: 0,
    nodesCpu: 0,
    notes: ['as it should be'],
  }
  const table = chaosTable([{ scenario: 'quiet', load: undefined, equalMs: 2345, ...rest }])
  assert.match(
    table,
    /^scenario .*load\nquiet +1 +0 +0\.1 +- +2\.3 +\n\n- quiet: as it should be\.\n$/,
  )
})
