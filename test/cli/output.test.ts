// Goal: output waits for its reader, ends quietly when the reader is gone, and fails loudly when it
// cannot be written for another reason; results and errors go where programs look for them.
// Method: streams that are slow, that break, and that forget their error as those of a process do.
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, test } from 'node:test'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { Output, ReaderGoneError } from '../../src/cli/output.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { TimeoutError } from '../../src/errors.ts'
import { CapturedOutput, runCli } from '../support/cli-harness.ts'
import { MemoryStore } from '../support/memory-store.ts'

/** Fails from its n-th write on. Like process.stdout it is not destroyed by that. */
class BreakingOutput extends CapturedOutput {
  readonly #code: string
  #left: number

  constructor(code: string, writes: number) {
    super()
    this.#code = code
    this.#left = writes
  }

  override _write(chunk: Uint8Array, encoding: string, done: (error?: Error) => void): void {
    if (this.#left-- > 0) super._write(chunk, encoding, done)
    else done(Object.assign(new Error(`${this.#code}: write`), { code: this.#code }))
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    done(error)
    // As process.stdout: the stream stands as if nothing had happened.
    ;(this as unknown as { _undestroy(): void })._undestroy()
  }
}

function open(stdout: Writable, json = false): { output: Output; stderr: CapturedOutput } {
  const stderr = new CapturedOutput()
  const options = { stdout, stderr, json, stdoutColour: false, stderrColour: false }
  return { output: Output.open(options as Parameters<typeof Output.open>[0]), stderr }
}

describe('output', () => {
  test('waits for a reader that is slow', async () => {
    const waiting: (() => void)[] = []
    const stdout = new Writable({
      highWaterMark: 4,
      write: (_chunk, _encoding, done) => void waiting.push(done),
    })
    const { output } = open(stdout)
    let written = false
    const write = output.writeText('longer than that').then(() => {
      written = true
    })
    for (let turn = 0; turn < 5; turn++) await yieldToEventLoop()
    assert.equal(written, false)
    waiting.shift()?.()
    await write
    assert.equal(written, true)
  })

  test('throws once the reader is gone, now and later', async () => {
    const { output } = open(new BreakingOutput('EPIPE', 1))
    await output.writeText('first')
    assert.equal(output.readerGone, false)
    for (let round = 0; round < 3; round++) {
      await assert.rejects(output.writeText('second'), ReaderGoneError)
      assert.equal(output.readerGone, true)
      await yieldToEventLoop()
    }
  })

  test('throws an error when the disk is full, now and later', async () => {
    const { output } = open(new BreakingOutput('ENOSPC', 0))
    for (let round = 0; round < 3; round++) {
      await assert.rejects(output.writeText('x'), {
        code: 'KV_IO',
        message: /standard output.*ENOSPC/,
      })
      assert.equal(output.readerGone, false)
      await yieldToEventLoop()
    }
  })

  test('shares what it knows of the streams among commands', async () => {
    const { output } = open(new BreakingOutput('EPIPE', 0))
    await assert.rejects(output.forCommand(true).writeText('x'), ReaderGoneError)
    await yieldToEventLoop()
    await assert.rejects(output.forCommand(false).writeText('x'), ReaderGoneError)
  })

  test('keeps notes from programs', () => {
    const { output, stderr } = open(new CapturedOutput(), true)
    output.note('hello')
    output.forCommand(false).note('people')
    assert.equal(stderr.text, 'people\n')
  })

  test('gives results and errors of data on stdout to stderr', async () => {
    const stdout = new CapturedOutput()
    const { output, stderr } = open(stdout, true)
    output.reserveStdout()
    await output.writeText('data')
    await output.print({ ok: true }, () => 'OK')
    await output.error(new TimeoutError('late'), { url: 'kv://x' }, 'line 2')
    assert.equal(stdout.text, 'data')
    const [result, error] = stderr.text.trimEnd().split('\n')
    assert.equal(result, '{"ok":true}')
    assert.deepEqual(JSON.parse(error!), {
      error: { code: 'KV_TIMEOUT', message: 'late', action: 'read-to-confirm', place: 'line 2' },
    })
  })
})

describe('a command', () => {
  const store = MemoryStore.with({ a: '1', b: '2' })

  test('ends quietly when nobody reads on', async () => {
    for (const argv of ['scan', 'get a', 'scan --json', 'help']) {
      const run = await runCli(argv, { store, stdout: new BreakingOutput('EPIPE', 0) })
      assert.deepEqual([run.code, run.err], [ExitCode.ok, ''], argv)
    }
    const pipe = new BreakingOutput('EPIPE', 1)
    const run = await runCli('', { store, stdin: 'get a\nput c 3\nput d 4\n', stdout: pipe })
    assert.deepEqual([run.code, run.err], [ExitCode.ok, ''])
    assert.equal(store.text('d'), undefined)
    assert.equal(store.openScans, 0)
  })

  test('fails when its output cannot be kept', async () => {
    for (const argv of ['get a', 'get a --json', 'scan', 'help']) {
      const run = await runCli(argv, { store, stdout: new BreakingOutput('ENOSPC', 0) })
      assert.equal(run.code, ExitCode.failed, argv)
      assert.match(run.err, /ENOSPC/)
    }
  })
})
