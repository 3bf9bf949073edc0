/**
 * Goal: the load generator's Redis protocol asks for what it should, and no way of cutting the
 * replies into chunks changes what it counts.
 * Method: golden bytes of the requests; every possible cut of a stream of all kinds of replies
 * into two chunks, and the stream byte by byte.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { respDriver } from '../../bench/load/resp-driver.ts'

const KEY = Buffer.from('key')
const VALUE = Buffer.from('ab\r\nc')
const REPLIES = '+OK\r\n$5\r\nab\r\nc\r\n$-1\r\n-READONLY no writes\r\n$3\r\nabc\r\n'
const EXPECTED = [
  [1, undefined],
  [2, undefined],
  [3, 'key is absent'],
  [4, 'READONLY'],
  [5, 'value of wrong size'],
]

function outcomes(chunks: readonly Buffer[]): (readonly [number, string | undefined])[] {
  const seen: (readonly [number, string | undefined])[] = []
  const connection = respDriver().connect(VALUE.length, (id, error) => seen.push([id, error]))
  connection.write(1, KEY, VALUE)
  for (const id of [2, 3, 4, 5]) connection.read(id, KEY)
  for (const chunk of chunks) connection.receive(chunk)
  return seen
}

describe('resp driver of the load generator', () => {
  test('requests have the documented bytes, whatever the sizes before', () => {
    const connection = respDriver().connect(1, () => undefined)
    const set = '*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nab\r\nc\r\n'
    const get = '*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n'
    assert.equal(Buffer.from(connection.write(1, KEY, VALUE)).toString(), set)
    assert.equal(Buffer.from(connection.read(2, KEY)).toString(), get)
    const longer = '*2\r\n$3\r\nGET\r\n$6\r\nkeykey\r\n'
    assert.equal(Buffer.from(connection.read(3, Buffer.from('keykey'))).toString(), longer)
  })

  test('replies are the same however they are cut', () => {
    const stream = Buffer.from(REPLIES)
    for (let cut = 0; cut <= stream.length; cut++) {
      const chunks = [stream.subarray(0, cut), stream.subarray(cut)]
      assert.deepEqual(outcomes(chunks), EXPECTED, `cut at ${cut}`)
    }
    const bytes = Array.from(stream, byte => Buffer.from([byte]))
    assert.deepEqual(outcomes(bytes), EXPECTED)
  })

  test('a reply that nobody asked for, and one of another protocol, are errors', () => {
    assert.throws(() => outcomes([Buffer.from(`${REPLIES}+OK\r\n`)]), /without a request/)
    assert.throws(() => outcomes([Buffer.from('?what\r\n')]), /unexpected reply/)
  })
})
