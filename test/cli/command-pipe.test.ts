// Goal: commands from a pipe run one after another over one connection; the first error stops them
// and says where it was; absent keys do not; nothing is lost at the borders of chunks.
// Method: whole runs of the program with commands on standard input, whole and in random pieces.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { formatCommandLine } from '../../src/cli/command-line.ts'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { TimeoutError } from '../../src/errors.ts'
import { runCli } from '../support/cli-harness.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { printSeed } from '../support/seed.ts'

describe('commands from a pipe', () => {
  test('run in order, over one connection', async () => {
    const stdin = 'put a 1\n# a comment\n\n  get a  \r\nput b "x y"\nscan'
    const run = await runCli('', { stdin })
    assert.equal(run.out, 'OK\n1\nOK\na\t1\nb\t"x y"\n')
    assert.deepEqual([run.err, run.code, run.connects.length], ['', ExitCode.ok, 1])
  })

  test('may be none', async () => {
    const run = await runCli('', { stdin: '' })
    assert.deepEqual([run.out, run.err, run.code, run.connects.length], ['', '', ExitCode.ok, 0])
  })

  test('stop at the first error, which tells its line', async () => {
    const run = await runCli('', { stdin: 'put a 1\n\nfrobnicate\nput b 2\n' })
    assert.match(run.err, /^line 3: error: unknown command 'frobnicate'/)
    assert.equal(run.code, ExitCode.usage)
    assert.deepEqual(run.store.keyTexts, ['a'])
  })

  test('stop at a quote that does not end', async () => {
    const run = await runCli('', { stdin: 'put a "1\nput b 2\n' })
    assert.match(run.err, /^line 1: error: the quote that opens at column 7 is not closed/)
    assert.equal(run.code, ExitCode.usage)
    assert.deepEqual(run.store.calls, [])
  })

  test('go on behind errors when told to, and end with the code of the first', async () => {
    const store = new MemoryStore()
    store.failNext = new TimeoutError('slow')
    const run = await runCli('--keep-going', { stdin: 'put a 1\nfrobnicate\nput b 2\n', store })
    assert.match(run.err, /^line 1: error: slow[\s\S]*line 2: error: unknown/)
    assert.equal(run.code, ExitCode.failed)
    assert.deepEqual(store.keyTexts, ['b'])
  })

  test('go on behind an absent key, but end with 1', async () => {
    const run = await runCli('', { stdin: 'get a\nput b 2\nhas b\n' })
    assert.deepEqual([run.out, run.code], ['OK\ntrue\n', ExitCode.failed])
  })

  test('give JSON when told so once for all, or each by itself', async () => {
    const all = await runCli('--json', { stdin: 'put a 1\nget a\nwrong\n' })
    assert.deepEqual(all.json.slice(0, 2), [
      { ok: true, key: 'a', valueBytes: 1 },
      { key: 'a', found: true, value: '1' },
    ])
    assert.deepEqual((all.json[2] as { error: { place: string } }).error.place, 'line 3')
    assert.equal(all.err, '')
    const one = await runCli('', { stdin: 'put a 1\nget a --json\n' })
    assert.equal(one.out, 'OK\n{"key":"a","found":true,"value":"1"}\n')
  })

  for (const [line, message] of [
    ['get a --url kv://x', /the server is chosen once for all commands: kvcli --url <url>/],
    ['put a -', /'-' reads standard input, which holds the commands here/],
    ['put a --file -', /'-' reads standard input, which holds the commands here/],
    ['quit', /unknown command 'quit'/],
    ['--version', /a command is missing/],
  ] as const) {
    test(`cannot be '${line}'`, async () => {
      const run = await runCli('', { stdin: `${line}\n` })
      assert.match(run.err, message)
      assert.equal(run.code, ExitCode.usage)
    })
  }

  test('hold any bytes, however they are cut into chunks', async t => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 10 })
    // A value of '-' alone means standard input, which is the commands themselves here.
    const values = bytes.filter(value => value.length > 1 || value[0] !== 0x2d)
    const pairs = fc.array(fc.tuple(bytes, values), { minLength: 1, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(pairs, fc.integer({ min: 1, max: 20 }), async (entries, size) => {
        const put = Buffer.from('put')
        const end = Buffer.from('--')
        const lines = entries.map(([key, value]) => formatCommandLine([put, end, key, value]))
        const whole = Buffer.from(lines.join('\n'))
        const chunks: Buffer[] = []
        for (let at = 0; at < whole.length; at += size) chunks.push(whole.subarray(at, at + size))
        const run = await runCli('', { stdin: Readable.from(chunks) })
        assert.equal(run.err, '')
        const expected = new MemoryStore()
        for (const [key, value] of entries) expected.set(key, value)
        assert.deepEqual(run.store.entriesKept, expected.entriesKept)
      }),
      { seed: printSeed(t), numRuns: 200 },
    )
  })

  test('may hold bytes that are no text as they are', async () => {
    const stdin = Buffer.concat([Buffer.from('put k '), Buffer.of(0xff, 0xfe), Buffer.from('\n')])
    const run = await runCli('', { stdin })
    assert.deepEqual([...run.store.entriesKept[0]![1]], [0xff, 0xfe])
  })
})
