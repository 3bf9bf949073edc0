// Goal: commands come out of a stream as they went in, however it is cut; what is none is refused
// with the words of Redis; and no promise of bytes takes memory.
// Method: random commands in random pieces; a table of malformed input, cut at every place; random
// garbage; a budget that counts.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { OverloadedError } from '../../src/errors.ts'
import { ProtocolViolation } from '../../src/net/resp/protocol-violation.ts'
import { RespDecoder } from '../../src/net/resp/resp-decoder.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { commandOf } from '../support/resp-client.ts'
import { printSeed } from '../support/seed.ts'

const LIMITS = { bulkSizeMax: 1 << 20, commandSizeMax: 4 << 20 }

class Budget {
  held = 0
  most = 0
  readonly max: number

  constructor(max = Number.POSITIVE_INFINITY) {
    this.max = max
  }

  reserve(size: number): boolean {
    if (this.held + size > this.max) return false
    this.held += size
    this.most = Math.max(this.most, this.held)
    return true
  }

  release(size: number): void {
    this.held -= size
    assert.ok(this.held >= 0)
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

/** The commands in pieces of a stream, and how it ended: with a message, or undefined. */
function decode(
  pieces: readonly Uint8Array[],
  setUp: (decoder: RespDecoder) => void = () => undefined,
  budget = new Budget(),
): { commands: string[][]; failure: string | undefined } {
  const decoder = new RespDecoder(LIMITS, budget)
  setUp(decoder)
  const commands: string[][] = []
  let failure: string | undefined
  try {
    for (const piece of pieces) {
      const lent = Uint8Array.from(piece)
      decoder.push(lent)
      while (decoder.next()) {
        const { bytes, starts, ends, count } = decoder
        commands.push(
          Array.from({ length: count }, (_, at) => latin1(bytes.subarray(starts[at]!, ends[at]!))),
        )
        if (commands.length % 3 === 0) {
          assert.ok(decoder.keep())
          lent.fill(0)
        }
      }
      lent.fill(0)
    }
  } catch (error) {
    assert.ok(error instanceof ProtocolViolation, String(error))
    failure = error.message
  }
  decoder.dispose()
  assert.equal(budget.held, 0, 'everything was given back')
  return { commands, failure }
}

function cutAnywhere(bytes: Uint8Array, random: Random, sizeMax: number): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + random.below(sizeMax)
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}

describe('resp decoder', () => {
  test('gives commands as they were sent, however the stream is cut', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 200; round++) {
      const sent = Array.from({ length: 1 + random.below(8) }, () => {
        return Array.from({ length: 1 + random.below(5) }, () => {
          const size = random.below(10) === 0 ? random.below(5000) : random.below(20)
          return latin1(random.bytes(size))
        })
      })
      const parts: Buffer[] = []
      for (const command of sent) {
        if (random.below(5) === 0) parts.push(Buffer.from('*0\r\n\r\n*-1\r\n'))
        parts.push(commandOf(...command))
      }
      const stream = Buffer.concat(parts)
      const sizeMax = [1, 3, 50, 3000][random.below(4)]!
      const { commands, failure } = decode(cutAnywhere(stream, random, sizeMax))
      assert.equal(failure, undefined)
      assert.deepEqual(commands, sent)
    }
  })

  test('splits inline commands as Redis does', () => {
    const table: [line: string, words: string[]][] = [
      ['PING\n', ['PING']],
      ['  set  a\tb \r\n', ['set', 'a', 'b']],
      [`${String.raw`set "a b" "\x41\n\"\q"`}\r\n`, ['set', 'a b', 'A\n"q']],
      [`${String.raw`set 'a\'b' 'c\n'`}\n`, ['set', "a'b", String.raw`c\n`]],
      ['set a ""\n', ['set', 'a', '']],
      ['ab"c d"\n', ['abc d']],
    ]
    for (const [line, words] of table) {
      for (const size of [1, 1000]) {
        const pieces = cutAnywhere(
          Buffer.from(line),
          { ...seededRandom(1), below: () => size - 1 },
          size,
        )
        assert.deepEqual(decode(pieces), { commands: [words], failure: undefined }, line)
      }
    }
  })

  const malformed: [input: string, message: string, isStranger?: boolean][] = [
    ['*x\r\n', 'invalid multibulk length'],
    ['*01\r\n', 'invalid multibulk length'],
    ['*1048577\r\n', 'invalid multibulk length'],
    ['*99999999999999999999\r\n', 'invalid multibulk length'],
    ['*1\r\nPING\r\n', "expected '$', got 'P'"],
    ['*1\r\n$-1\r\n', 'invalid bulk length'],
    ['*1\r\n$x\r\n', 'invalid bulk length'],
    ['*1\r\n$1048577\r\n', 'invalid bulk length'],
    ['*11\r\n', 'unauthenticated multibulk length', true],
    ['*1\r\n$16385\r\n', 'unauthenticated bulk length', true],
    ['set "a\n', 'unbalanced quotes in request'],
    ['set "a"b\n', 'unbalanced quotes in request'],
    ["set 'a\n", 'unbalanced quotes in request'],
    ['x'.repeat(70_000), 'too big inline request'],
    [`*${'1'.repeat(70_000)}`, 'too big mbulk count string'],
    [`*1\r\n$${'1'.repeat(70_000)}`, 'too big bulk count string'],
  ]
  for (const [input, message, isStranger] of malformed) {
    test(`refuses ${JSON.stringify(input.slice(0, 30))}: ${message}`, () => {
      const bytes = Buffer.from(`PING\r\n${input}`)
      for (const size of input.length > 1000 ? [bytes.length, 1000] : [bytes.length, 1]) {
        const pieces = cutAnywhere(bytes, { ...seededRandom(1), below: () => size - 1 }, size)
        const { commands, failure } = decode(pieces, decoder => {
          decoder.isStranger = isStranger === true
        })
        assert.deepEqual([commands, failure], [[['PING']], message])
      }
    })
  }

  test('a command of too many bytes in all is refused before they come', () => {
    const bulk = `$${1 << 20}\r\n${'x'.repeat(1 << 20)}\r\n`
    const { failure } = decode([Buffer.from(`*9\r\n${bulk.repeat(3)}$1048576\r\n`)])
    assert.match(failure ?? '', /^too big command/)
  })

  test('promised bytes take no memory, those that come take about twice their size', () => {
    const budget = new Budget()
    decode([Buffer.from('*1000000\r\n$1048576\r\nabc')], undefined, budget)
    assert.ok(budget.most <= 1024)
    const pieces = Array.from({ length: 100 }, () => Buffer.alloc(10_000, 'x'))
    decode([Buffer.from('*2\r\n$1048576\r\n'), ...pieces], undefined, budget)
    assert.ok(budget.most <= 2_100_000, `held ${budget.most}`)
  })

  test('a command for which there is no memory is refused', () => {
    const decoder = new RespDecoder(LIMITS, new Budget(10_000))
    decoder.push(Buffer.from('*2\r\n$100000\r\n'))
    assert.equal(decoder.next(), false)
    decoder.push(Buffer.alloc(20_000))
    assert.throws(() => decoder.next(), OverloadedError)
  })

  test('garbage is a command, a violation, or incomplete', t => {
    const random = seededRandom(printSeed(t))
    const alphabet = '*$0123459-\r\n\r\n\r\n "\'\\xPING\0'
    let failures = 0
    for (let round = 0; round < 3000; round++) {
      const text = Array.from({ length: random.below(60) }, () => {
        return alphabet[random.below(alphabet.length)]
      }).join('')
      const bytes = Buffer.from(text)
      const whole = decode([bytes])
      assert.deepEqual(decode(cutAnywhere(bytes, random, 3)), whole, JSON.stringify(text))
      if (whole.failure !== undefined) failures++
    }
    assert.ok(failures > 300 && failures < 2900, `${failures} failures`)
  })
})
