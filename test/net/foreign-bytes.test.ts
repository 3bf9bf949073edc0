// Goal: the log names what knocked, and the error names what was found.
// Method: first bytes of well-known protocols.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { describeForeignBytes, describeForeignServer } from '../../src/net/foreign-bytes.ts'

describe('foreign bytes', () => {
  for (const [sent, expected] of [
    ['GET / HTTP/1.1\r\n', /HTTP/],
    ['PRI * HTTP/2.0\r\n', /HTTP/],
    ['*1\r\n$4\r\nPING\r\n', /Redis/],
    ['PING\r\n', /Redis/],
    ['SSH-2.0-OpenSSH', /SSH/],
    ['PROXY TCP4 1.1.1.1', /PROXY protocol/],
    ['hello', /68 65 6c 6c 6f/],
    ['', /nothing/],
  ] as const) {
    test(`a client that sends ${JSON.stringify(sent)}`, () => {
      assert.match(describeForeignBytes(utf8Encode(sent)), expected)
    })
  }

  test('a client that sends a TLS hello', () => {
    assert.match(describeForeignBytes(Uint8Array.of(0x16, 3, 1, 2, 0, 1)), /TLS/)
  })

  for (const [sent, expected] of [
    ['HTTP/1.1 400 Bad Request', /HTTP/],
    ["-ERR unknown command '", /Redis/],
    ['+OK\r\n', /Redis/],
    ['SSH-2.0-OpenSSH', /SSH/],
    ['garbage', /67 61 72/],
  ] as const) {
    test(`a server that sends ${JSON.stringify(sent)}`, () => {
      assert.match(describeForeignServer(utf8Encode(sent)), expected)
    })
  }
})
