// Goal: what is typed comes out unchanged and one line at a time, however it was cut into chunks;
// Ctrl-C is never held; a typed Tab ends a chunk and a pasted one never does; the end comes last.
// Method: random keys in random chunks against a reader that releases lines at random moments.
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ReplInput } from '../../src/cli/repl-input.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { printSeed } from '../support/seed.ts'

const PASTE_START = '\u001b[200~'
const PASTE_END = '\u001b[201~'

interface Reader {
  readonly source: PassThrough
  readonly input: ReplInput
  readonly chunks: Buffer[]
  interrupts: number
  ended: boolean
}

function open(terminal = true): Reader {
  const source = new PassThrough()
  const chunks: Buffer[] = []
  const onInterrupt = () => {
    reader.interrupts++
  }
  const input = new ReplInput({ source, terminal, onInterrupt })
  const reader: Reader = { source, input, chunks, interrupts: 0, ended: false }
  input.on('data', chunk => chunks.push(chunk))
  input.on('end', () => {
    reader.ended = true
  })
  return reader
}

function textOf(reader: Reader): string {
  return Buffer.concat(reader.chunks).toString('latin1')
}

const KEYS = [
  'a',
  'é',
  ' ',
  '\t',
  '\r',
  '\n',
  '\r\n',
  '\u001b[A',
  PASTE_START,
  PASTE_END,
  '\u001b[2',
]

describe('input of the shell', () => {
  test('comes out unchanged, a line for each release', async t => {
    const keys = fc.array(fc.constantFrom(...KEYS), { maxLength: 40 })
    const cuts = fc.array(fc.nat(6), { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(keys, cuts, fc.boolean(), async (typed, sizes, terminal) => {
        const bytes = Buffer.from(typed.join(''))
        const reader = open(terminal)
        let at = 0
        for (const size of sizes) {
          if (size > 0) reader.source.write(bytes.subarray(at, at + size))
          else reader.input.release()
          at += size
          await yieldToEventLoop()
          const before = textOf(reader)
          assert.ok(bytes.toString('latin1').startsWith(before), 'in order')
        }
        reader.source.end(bytes.subarray(Math.min(at, bytes.length)))
        const lineEnds = bytes.toString('latin1').match(/\r\n|\r|\n/g)?.length ?? 0
        for (let line = 0; line < 2 * lineEnds + 2; line++) {
          assert.equal(reader.ended, false)
          reader.input.release()
          await yieldToEventLoop()
          if (reader.ended) break
        }
        assert.equal(textOf(reader), bytes.toString('latin1'))
        assert.equal(reader.ended, true)
        assert.equal(reader.interrupts, 0)
      }),
      { seed: printSeed(t), numRuns: 300 },
    )
  })

  test('never lets a second line out before the first is dealt with', async () => {
    const reader = open()
    reader.input.release()
    reader.source.write('one\rtwo\rthree')
    await yieldToEventLoop()
    assert.equal(textOf(reader), 'one\r')
    reader.input.release()
    await yieldToEventLoop()
    assert.equal(textOf(reader), 'one\rtwo\r')
    reader.input.release()
    await yieldToEventLoop()
    assert.equal(textOf(reader), 'one\rtwo\rthree')
    reader.source.write('!\rfour')
    await yieldToEventLoop()
    assert.equal(textOf(reader), 'one\rtwo\rthree!\r')
  })

  test('cuts behind a Tab that is typed, never behind one that is pasted', async t => {
    const keys = fc.array(fc.constantFrom('a', '\t', PASTE_START, PASTE_END), { maxLength: 30 })
    const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(keys, cuts, async (typed, sizes) => {
        const bytes = Buffer.from(typed.join('') + PASTE_END)
        const reader = open()
        reader.input.release()
        let at = 0
        for (const size of [...sizes, bytes.length]) {
          reader.source.write(bytes.subarray(at, at + size))
          at += size
          await yieldToEventLoop()
        }
        assert.equal(textOf(reader), bytes.toString())
        const ends = new Set<number>()
        let end = 0
        for (const chunk of reader.chunks) {
          end += chunk.length
          ends.add(end)
        }
        let pasting = false
        let position = 0
        for (const key of typed) {
          position += key.length
          if (key === PASTE_START) pasting = true
          else if (key === PASTE_END) pasting = false
          else if (key === '\t') assert.equal(ends.has(position), !pasting, `at ${position}`)
        }
      }),
      { seed: printSeed(t), numRuns: 300 },
    )
  })

  test('reports Ctrl-C at once while a line is dealt with, and drops what came before it', async () => {
    const reader = open()
    reader.input.release()
    reader.source.write('run\r')
    await yieldToEventLoop()
    reader.source.write(`ahead\rmore${PASTE_START}pasted`)
    await yieldToEventLoop()
    assert.equal(reader.interrupts, 0)
    reader.source.write('xx\u0003next\t')
    await yieldToEventLoop()
    assert.equal(reader.interrupts, 1)
    reader.input.release()
    await yieldToEventLoop()
    assert.equal(textOf(reader), 'run\rnext\t')
    // The paste that was dropped is over.
    reader.source.write('a\t')
    await yieldToEventLoop()
    assert.equal(reader.chunks.at(-1)?.toString(), 'a\t')
  })

  test('gives Ctrl-C to readline while somebody types', async () => {
    const reader = open()
    reader.input.release()
    reader.source.write('abc\u0003')
    await yieldToEventLoop()
    assert.equal(reader.interrupts, 0)
    assert.equal(textOf(reader), 'abc\u0003')
  })

  test('knows no Ctrl-C where no keys are typed', async () => {
    const reader = open(false)
    reader.input.release()
    reader.source.end('a\nb\u0003')
    await yieldToEventLoop()
    reader.input.release()
    await yieldToEventLoop()
    assert.equal(textOf(reader), 'a\nb\u0003')
    assert.equal(reader.interrupts, 0)
  })

  test('reads no further when very much is typed ahead, and goes on later', async () => {
    const reader = open()
    reader.input.release()
    reader.source.write('run\r')
    await yieldToEventLoop()
    const megabyte = 'x'.repeat(1024 * 1024)
    let accepted = 0
    while (reader.source.write(megabyte) || accepted < 17) {
      accepted++
      await yieldToEventLoop()
      if (reader.source.isPaused()) break
    }
    assert.ok(reader.source.isPaused())
    assert.equal(textOf(reader), 'run\r')
    reader.input.release()
    await yieldToEventLoop()
    assert.equal(reader.source.isPaused(), false)
    assert.ok(textOf(reader).length > 16 * 1024 * 1024)
  })

  test('lets go of its source when it is closed', async () => {
    const reader = open()
    reader.input.destroy()
    await yieldToEventLoop()
    assert.equal(reader.source.listenerCount('data'), 0)
    reader.source.write('a\r')
    reader.input.release()
    await yieldToEventLoop()
    assert.equal(textOf(reader), '')
  })
})
