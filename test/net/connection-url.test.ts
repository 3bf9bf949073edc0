// Goal: a URL says which servers and options are meant, and a wrong one says what is wrong with it.
// Method: tables of right and wrong ones.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InvalidArgumentError } from '../../src/errors.ts'
import { formatAddress, parseConnectionUrl, withoutPassword } from '../../src/net/connection-url.ts'
import { DEFAULT_PORT } from '../../src/net/limits.ts'

const RIGHT = [
  ['kv://localhost', ['localhost', DEFAULT_PORT], {}],
  ['kv://127.0.0.1:1', ['127.0.0.1', 1], {}],
  ['kv://a:1,b:2/', ['a', 1, 'b', 2], {}],
  ['kv://[::1]:65535', ['::1', 65_535], {}],
  ['kv://[fe80::1]', ['fe80::1', DEFAULT_PORT], {}],
  ['kv://me:secret@a:1,b', ['a', 1, 'b', DEFAULT_PORT], { user: 'me', password: 'secret' }],
  ['kv://:secret@a', ['a', DEFAULT_PORT], { password: 'secret' }],
  ['kv://me@a', ['a', DEFAULT_PORT], { user: 'me' }],
  ['kv://a%3A:p%40%2F:x@[::1]', ['::1', DEFAULT_PORT], { user: 'a:', password: 'p@/:x' }],
  ['kv://h?timeoutMs=100', ['h', DEFAULT_PORT], { timeoutMs: 100 }],
  [
    'kv://h/?clientName=a%20b&consistency=quorum&durability=none&connectTimeoutMs=7',
    ['h', DEFAULT_PORT],
    { clientName: 'a b', consistency: 'quorum', durability: 'none', connectTimeoutMs: 7 },
  ],
] as const

const WRONG = [
  ['', /begin with kv:/],
  ['redis://localhost', /begin with kv:/],
  ['./data', /begin with kv:/],
  ['kv://', /not host:port/],
  ['kv://a,', /not host:port/],
  ['kv://:7000', /not host:port/],
  ['kv://a:b:c', /port 'b:c'/],
  ['kv://::1', /not host:port/],
  ['kv://a:0', /port '0'/],
  ['kv://a:65536', /port '65536'/],
  ['kv://a:', /port ''/],
  ['kv://a:1e3', /port '1e3'/],
  ['kv://a/db', /no path/],
  ['kv://me:secret@', /not host:port/],
  ['kv://me:secret@a:x', /port 'x'/],
  ['kv://me:secret%zz@a', /percent-encoding/],
  ['kv://me:se/cret-secret@a', /%2F/],
  ['kv://me:se?secret@a', /%3F/],
  ['kv://me:1?consistency=secret@a', /%3F/],
  ['kv://me:1?clientName=secret@a', /%3F/],
  ['kv://:secret/secret@a', /%2F/],
  ['kv://me:secret\n/secret@a', /%2F/],
  ['kv://a:1?password=secret@secret', /%3F/],
  ['kv://a?password=secret', /stands before an '@'/],
  ['kv://a?timeoutMs=1&token=secret', /'token' is not one of/],
  ['kv://me:secret@a?timeoutMs=secret', /whole milliseconds/],
  ['me:secret@a', /begin with kv:/],
  ['kv:/me:secret@a', /begin with kv:/],
  ['KV+x://me:secret:secret@secret@a', /begin with kv:/],
  ['kv://a?timeout=5', /'timeout' is not one of/],
  ['kv://a?timeoutMs=5s', /whole milliseconds/],
  ['kv://a?timeoutMs=5&timeoutMs=6', /twice/],
  ['kv://a?consistency=most', /must be one, quorum, all/],
  ['kv://a?durability=', /must be sync, interval, none/],
] as const

describe('parseConnectionUrl', () => {
  for (const [url, flat, options] of RIGHT) {
    test(`understands ${url}`, () => {
      const parsed = parseConnectionUrl(url)
      assert.deepEqual(
        parsed.nodes.flatMap(({ host, port }) => [host, port]),
        flat,
      )
      assert.deepEqual(parsed.options, options)
    })
  }
  for (const [url, message] of WRONG) {
    test(`refuses '${url}'`, () => {
      assert.throws(
        () => parseConnectionUrl(url),
        (error: unknown) => {
          assert.ok(error instanceof InvalidArgumentError)
          assert.match(error.message, message)
          assert.doesNotMatch(error.message, /secret/)
          return true
        },
      )
    })
  }
  test('a URL is shown without its password', () => {
    for (const [url, shown] of [
      ['kv://me:secret@a:1,b/?timeoutMs=1', 'kv://me@a:1,b/?timeoutMs=1'],
      ['kv://:secret@a', 'kv://a'],
      ['kv://me:se@cret@a', 'kv://me@a'],
      ['kv://me@a', 'kv://me@a'],
      ['kv://[::1]:7700', 'kv://[::1]:7700'],
      ['kv://a:1?clientName=x:y%40z', 'kv://a:1?clientName=x:y%40z'],
    ] as const) {
      assert.equal(withoutPassword(url), shown)
    }
  })

  test('a refused URL is shown as far as it holds no password', () => {
    for (const [url, shown] of [
      ['kv://me:secret@a:x', "'kv://me@a:x'"],
      ['kv://:secret@a:x', "'kv://a:x'"],
      ['kv://me:se/cret@a', "'kv://me...'"],
      ['kv://a/db', "'kv://a/db'"],
      ['kv://a:1?password=secret', "'kv://a:1?...'"],
    ] as const) {
      assert.throws(
        () => parseConnectionUrl(url),
        ({ message }: Error) => message.startsWith(`cannot connect to ${shown}: `),
      )
    }
  })

  test('addresses are written as they are read', () => {
    for (const address of [
      { host: 'a', port: 1 },
      { host: '::1', port: 2 },
    ]) {
      assert.deepEqual(parseConnectionUrl(`kv://${formatAddress(address)}`).nodes, [address])
    }
  })
})
