// Goal: the command as a user meets it: what is stored, printed, kept beside the file, and how it
// ends; all that may go wrong with its options before anything is touched.
// Method: kvcli in this process with real files in a temporary directory and a store in memory.
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, type TestContext, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { yieldToEventLoop } from '../../src/clock.ts'
import { IoError, UnavailableError } from '../../src/errors.ts'
import { type CliRun, type CliRunOptions, runCli, startCli } from '../support/cli-run.ts'
import { MemoryRemote } from '../support/memory-remote.ts'
import { SimClock } from '../support/sim-clock.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

function setUp(t: TestContext) {
  const directory = temporaryDirectory(t)
  const store = new MemoryRemote()
  const path = (name: string): string => join(directory, name)
  const write = (name: string, content: string | Uint8Array): string => {
    writeFileSync(path(name), content)
    return path(name)
  }
  const run = (argv: string[], options: CliRunOptions = {}): Promise<CliRun> => {
    return runCli(['import', ...argv], { store, ...options })
  }
  return { store, path, write, run }
}

function jsonOf(run: CliRun): Record<string, unknown> {
  return JSON.parse(run.stdout.toString()) as Record<string, unknown>
}

const LINES = '{"key":"a","value":"1"}\n{"key":"b","value":null}\n{"key":"c","value":{"x":1}}\n'

describe('a file', () => {
  test('is stored, and the result is told', async t => {
    const { store, write, run } = setUp(t)
    const done = await run([write('x.jsonl', LINES)])
    assert.equal(done.code, 0)
    assert.deepEqual(
      [...store.data],
      [
        ['a', '1'],
        ['c', '{"x":1}'],
      ],
    )
    assert.match(
      done.stdout.toString(),
      /^imported 2 records \(10 B\) in .+\nleft out 1 null values \(--null-as '' stores them\)\n$/,
    )
    assert.equal(done.stderr, '')
  })

  test('and told as JSON', async t => {
    const { write, run, path } = setUp(t)
    const done = await run(['--json', write('x.jsonl', LINES)])
    const { seconds, recordsPerSecond, ...rest } = jsonOf(done)
    assert.deepEqual([typeof seconds, typeof recordsPerSecond], ['number', 'number'])
    const counts = { records: 2, bytes: 10, nulls: 1, rejected: 0 }
    assert.deepEqual(rest, { ...counts, complete: true, resumable: false, replicasBehind: false })
    assert.ok(!existsSync(path('x.jsonl.import-progress')))
  })

  const owed = { isEstimate: true, partitions: 0, isUp: true, pendingBytes: 0, pendingAgeMs: 0 }
  const nodes = { mine: '1'.repeat(32), up: '2'.repeat(32), away: '3'.repeat(32) }
  const owing = (...owes: object[]) => [
    { node: nodes.mine, owes: owes.map(each => ({ ...owed, peer: nodes.up, writes: 0, ...each })) },
  ]

  test('is complete once all replicas that are up have it', async t => {
    const { store, write, run } = setUp(t)
    store.hints = [
      owing({ writes: 7 }),
      owing({ pendingBytes: 9, pendingAgeMs: 900 }),
      // What others have written since is not waited for, nor a node that is down.
      owing({ pendingBytes: 9, pendingAgeMs: 3 }, { peer: nodes.away, isUp: false, writes: 5 }),
    ]
    const clock = new SimClock()
    const running = run([write('x.jsonl', LINES)], { clock, columns: 120 })
    for (let poll = 0; poll < 2; poll++) {
      while (clock.timerCount === 0) await yieldToEventLoop()
      clock.advance(250)
    }
    const done = await running
    assert.equal(done.code, 0)
    assert.match(done.stderr, /waiting for replicas: ~7 writes on their way.*9 B of writes on/s)
    assert.match(done.stdout.toString(), /^imported 2 .*\n.*\n33333333 is down: it gets what/)
  })

  test('says so when replicas have not all of it in time, or at Ctrl-C', async t => {
    const { store, write } = setUp(t)
    store.hints = [owing({ writes: 7 })]
    const argv = ['import', write('x.jsonl', LINES), '--settle', '100ms']
    const clock = new SimClock()
    const late = startCli(argv, { store, clock })
    while (clock.timerCount === 0) await yieldToEventLoop()
    clock.advance(250)
    const done = await late.done
    assert.equal(done.code, 0)
    assert.match(done.stdout.toString(), /~7 writes are still on their way to replicas: until/)
    const stopped = startCli([...argv.slice(0, 2), '--json'], { store, clock })
    while (clock.timerCount === 0) await yieldToEventLoop()
    stopped.interrupt()
    clock.advance(250)
    const { complete, replicasBehind } = jsonOf(await stopped.done)
    assert.deepEqual([complete, replicasBehind], [true, true])
    const unasked = startCli([...argv.slice(0, 2), '--json', '--settle', '0'], { store })
    assert.equal(jsonOf(await unasked.done)['replicasBehind'], null)
  })

  test('of any format, compressed or not, gives the same store', async t => {
    const { write } = setUp(t)
    const files: readonly (readonly [string, string, string[]])[] = [
      ['x.jsonl', '{"key":"a","value":"1,"}\n{"value":2,"key":"é"}', []],
      ['x.json', '{"a":"1,",\n"é":2}', []],
      ['y.json', '[["a","1,"],{"value":"2","key":"é"}]', []],
      ['x.csv', 'key,value\na,"1,"\né,2\n', []],
      ['y.csv', '\ufeffvalue;x;id\n1,;;a\n2;;é', ['--key-column', 'id', '--delimiter', ';']],
      ['x.tsv', 'a\t1,\né\t2\n', []],
      ['y.tsv', '61\t312c\nc3a9\t32\n', ['--hex']],
      ['x.txt', 'YQ==,MSw=\nw6k=,Mg==\n', ['--base64', '--format', 'csv']],
    ]
    for (const [name, content, options] of files) {
      for (const zipped of [false, true]) {
        const store = new MemoryRemote()
        const bytes = zipped ? gzipSync(content) : Buffer.from(content)
        const done = await runCli(
          ['import', ...options, write(zipped ? `${name}.gz` : name, bytes)],
          { store },
        )
        assert.equal(done.code, 0, done.stderr)
        assert.deepEqual(
          [...store.data],
          [
            ['a', '1,'],
            ['\xc3\xa9', '2'],
          ],
          name,
        )
      }
    }
  })

  test('options reach the store', async t => {
    const { store, write, run } = setUp(t)
    const path = write('x.jsonl', LINES)
    const options = ['--ttl', '90s', '--null-as', 'none', '--durability', 'none', '--timeout', '7s']
    await run([path, ...options, '--consistency', 'quorum'])
    const { signal, ...write1 } = store.writes[0]!
    assert.ok(signal instanceof AbortSignal)
    assert.deepEqual(write1, { durability: 'none', consistency: 'quorum', timeoutMs: 7000 })
    assert.deepEqual(
      store.batches.flat().map(operation => (operation.type === 'put' ? operation.ttlMs : 0)),
      [90_000, 90_000, 90_000],
    )
    assert.equal(store.data.get('b'), 'none')
  })

  test('that is not there, is a directory, or is not what it seems', async t => {
    const { write, run, path } = setUp(t)
    const missing = await run([path('no.jsonl')])
    assert.equal(missing.code, 1)
    assert.match(missing.stderr, /cannot open .*no\.jsonl: there is no such file.*KV_NOT_FOUND/)
    const directory = await run([path(''), '--format', 'csv'])
    assert.match(directory.stderr, /it is a directory/)
    const zipped = await run([write('x.jsonl.gz', LINES)])
    assert.equal(zipped.code, 1)
    assert.match(zipped.stderr, /cannot read .*x\.jsonl\.gz: it is not valid gzip data/)
  })

  test('that breaks off: what came before is stored and can be gone on from', async t => {
    const { store, write, run, path } = setUp(t)
    const lines = Array.from({ length: 5000 }, (_, index) => `{"key":"${index}","value":"v"}\n`)
    const whole = gzipSync(lines.join(''))
    const done = await run([write('x.jsonl.gz', whole.subarray(0, whole.length / 2))])
    assert.equal(done.code, 1)
    assert.match(done.stderr, /the gzip data ends too early/)
    assert.ok(store.data.size > 500, `${store.data.size} were stored`)
    assert.ok(existsSync(path('x.jsonl.gz.import-progress')))
    assert.match(done.stdout.toString(), /^stopped after .*\ngo on from here .* --resume\n$/s)
  })
})

describe('bad records', () => {
  const BAD = 'key,value\na,1\nnonsense\n"b!",2\nc,3\n'

  test('end it with their place, and what to do', async t => {
    const { store, write, run } = setUp(t)
    const done = await run([write('x.csv', BAD)])
    assert.equal(done.code, 1)
    assert.match(
      done.stderr,
      /^error: .*x\.csv, line 3 \(byte 14\): expected 2 columns, .*\n {2}-> mend that record/,
    )
    assert.deepEqual([...store.data.keys()], ['a'])
  })

  test('as JSON: the error is the last line', async t => {
    const { write, run } = setUp(t)
    const done = await run(['--json', write('x.csv', BAD)])
    const [result, error, ...others] = done.stdout.toString().trimEnd().split('\n')
    assert.deepEqual(others, [])
    assert.equal((JSON.parse(result!) as { complete: boolean }).complete, false)
    const report = (JSON.parse(error!) as { error: { code: string } }).error
    assert.equal(report.code, 'KV_INVALID_ARGUMENT')
  })

  test('are skipped and kept, can be mended and imported on their own', async t => {
    const { store, write, run, path } = setUp(t)
    const done = await run([write('x.csv', BAD), '--on-error', 'skip'])
    assert.equal(done.code, 0)
    const kept = path('x.rejects.csv')
    assert.match(done.stdout.toString(), /\nskipped 2 bad records, kept in .*x\.rejects\.csv\n$/)
    assert.match(
      done.stderr,
      /^skipped .*x\.csv, line 3: expected 2 .*\nskipped .*line 4: .*refused/,
    )
    assert.deepEqual([...store.data.keys()], ['a', 'c'])
    assert.equal(readFileSync(kept, 'utf8'), 'key,value\nnonsense\n"b!",2\n')
    writeFileSync(kept, readFileSync(kept, 'utf8').replace('nonsense', 'd,4').replace('!', ''))
    const mended = await run([kept])
    assert.equal(mended.code, 0)
    assert.deepEqual([...store.data.keys()], ['a', 'c', 'd', 'b'])
  })

  test('of a JSON document are kept as JSON lines', async t => {
    const { store, write, run, path } = setUp(t)
    await run([write('x.json', '{"a":"1",\n"":"2","b!"\n: [3,\n4]}'), '--on-error', 'skip'])
    const kept = path('x.rejects.jsonl')
    const text = readFileSync(kept, 'utf8')
    assert.equal(text, '{"key":"","value":"2"}\n{"key":"b!","value":[3, 4]}\n')
    writeFileSync(kept, text.replace('""', '"e"').replace('!', ''))
    assert.equal((await run([kept])).code, 0)
    assert.deepEqual([...store.data.keys()], ['a', 'e', 'b'])
  })

  test('of an earlier import give way to new ones, and stay when there are none', async t => {
    const { write, run, path } = setUp(t)
    const kept = path('x.rejects.csv')
    await run([write('x.csv', BAD), '--on-error', 'skip'])
    await run([write('x.csv', 'key,value\na,1\n'), '--on-error', 'skip'])
    assert.match(readFileSync(kept, 'utf8'), /nonsense/)
    await run([write('x.csv', 'key,value\nother\n'), '--on-error', 'skip'])
    assert.equal(readFileSync(kept, 'utf8'), 'key,value\nother\n')
  })

  test('are told one by one up to ten, then counted', async t => {
    const { write, run, path } = setUp(t)
    const skip = ['--on-error', 'skip', '--rejects', path('bad')]
    const done = await run([write('x.jsonl', 'x\n'.repeat(25)), ...skip])
    const notes = done.stderr.trimEnd().split('\n')
    assert.equal(notes.length, 11)
    assert.equal(notes.at(-1), 'further bad records are only counted')
    assert.match(done.stdout.toString(), /skipped 25 bad records/)
    assert.equal(readFileSync(path('bad'), 'utf8'), 'x\n'.repeat(25))
  })

  test('that cannot be kept end it', async t => {
    const { write, run } = setUp(t)
    const files = { append: () => Promise.reject(new IoError('no space is left on the device')) }
    const done = await run([write('x.csv', BAD), '--on-error', 'skip'], { files })
    assert.equal(done.code, 1)
    assert.match(done.stderr, /no space is left/)
  })
})

/** Moves the clock until the program is through. */
async function untilDone(done: Promise<CliRun>, clock: SimClock): Promise<CliRun> {
  let over = false
  const end = (): void => {
    over = true
  }
  done.then(end, end)
  while (!over) await clock.advanceAsync(100)
  return await done
}

describe('going on', () => {
  const COUNT = 9000
  const lines = Array.from({ length: COUNT }, (_, index) => `${index},v${index}\n`)
  lines[3000] = 'bad\n'
  lines[8000] = 'bad too\n'
  const TABLE = `key,value\n${lines.join('')}`

  test('behind a stop: all is stored in the end, and no reject is lost', async t => {
    const { store, write, run, path } = setUp(t)
    const file = write('x.csv', TABLE)
    const progress = `${file}.import-progress`
    const clock = new SimClock()
    let answered = 0
    store.fickle.onBatch = batch => {
      if (++answered <= 5) store.fickle.answer(batch)
      else started.interrupt()
    }
    const started = startCli(['import', file, '--on-error', 'skip'], { store, clock })
    // What was sent last gets no answer, and is not waited for for ever.
    const first = await untilDone(started.done, clock)
    assert.equal(first.code, 130)
    assert.match(first.stdout.toString(), /^stopped after 5,000 records/)
    assert.match(
      first.stdout.toString(),
      /\ngo on from here with the same options and: kvcli import/,
    )
    const { mark } = JSON.parse(readFileSync(progress, 'utf8')) as { mark: { offset: number } }
    assert.ok(mark.offset > 0)
    store.fickle.answerAlways()
    const before = store.batches.length
    const second = await run([file, '--on-error', 'skip', '--resume'])
    assert.equal(second.code, 0)
    assert.match(second.stderr, /^going on at line 5,00\d\n/)
    assert.equal(store.batches.length - before, 4, 'what was acknowledged is not sent again')
    assert.equal(store.data.size, COUNT - 2)
    const kept = readFileSync(path('x.rejects.csv'), 'utf8')
    assert.deepEqual(new Set(kept.split('\n')), new Set(['key,value', 'bad', 'bad too', '']))
    assert.ok(kept.startsWith('key,value\n'))
    assert.ok(!existsSync(progress))
  })

  test('behind a server that went away for good', async t => {
    const { store, write, run } = setUp(t)
    const file = write('x.csv', TABLE.replace(/bad.*\n/g, ''))
    const clock = new SimClock()
    let answered = 0
    store.fickle.onBatch = batch => {
      if (++answered <= 5) store.fickle.answer(batch)
      else {
        failedMs ??= clock.monotonicMs()
        store.fickle.fail(batch, new UnavailableError('it is gone'), answered % 2 === 0)
      }
    }
    let failedMs: number | undefined
    const argv = ['import', file, '--retry-for', '10s']
    const first = await untilDone(startCli(argv, { store, clock }).done, clock)
    assert.equal(first.code, 3)
    assert.ok(clock.monotonicMs() - failedMs! >= 10_000)
    assert.equal(first.stderr.match(/^waiting it is gone$/gm)?.length, 2)
    assert.match(first.stderr, /\nerror: it is gone \[KV_UNAVAILABLE\]\n/)
    store.fickle.answerAlways()
    assert.equal((await run([file, '--resume'])).code, 0)
    assert.equal(store.data.size, COUNT - 2)
  })

  test('behind a server that falls silent: the limit is kept, it counts as away', async t => {
    const { store, write } = setUp(t)
    const clock = new SimClock()
    let sentMs = 0
    let givenUpMs = 0
    store.fickle.onBatch = () => {
      sentMs = clock.monotonicMs()
      const giveUp = (): void => {
        givenUpMs = clock.monotonicMs()
      }
      store.writes[0]?.signal?.addEventListener('abort', giveUp, { once: true })
    }
    const argv = ['import', write('x.csv', 'key,value\na,1\n'), '--retry-for', '2s']
    const run = await untilDone(startCli(argv, { store, clock }).done, clock)
    assert.equal(run.code, 3)
    assert.equal(givenUpMs - sentMs, 2000)
    assert.match(run.stderr, /error: no answer for 2\.00 s \[KV_UNAVAILABLE\]/)
  })

  test('needs the same file and the same reading of it', async t => {
    const { store, write, run, path } = setUp(t)
    const file = write('x.csv', 'key,value\na,1\nbad\n')
    assert.equal((await run([file])).code, 1)
    assert.ok(existsSync(`${file}.import-progress`))
    const other = await run([file, '--resume', '--format', 'tsv'])
    assert.equal(other.code, 2)
    assert.match(
      other.stderr,
      /is the progress of another import: its format is csv, now it is tsv/,
    )
    write('x.csv', 'key,value\na,1\nmended,\n')
    const changed = await run([file, '--resume'])
    assert.match(changed.stderr, /its size is 18, now it is 22; without --resume the import starts/)
    const anew = await run([file])
    assert.match(anew.stderr, /^starting over; .*x\.csv\.import-progress of an earlier import/)
    assert.equal(anew.code, 0)
    assert.equal(store.data.size, 2)
    const nothing = await run([file, '--resume'])
    assert.equal(
      nothing.stderr,
      `there is no ${path('x.csv.import-progress')}: starting at the beginning\n`,
    )
  })

  test('where progress cannot be kept, an import still works, and says so', async t => {
    const { write } = setUp(t)
    const store = new MemoryRemote()
    const files = { writeText: () => Promise.reject(new IoError('the file system is read-only')) }
    const file = write('x.csv', 'key,value\na,1\nbad\n')
    const done = await runCli(['import', file], { store, files })
    assert.equal(done.code, 1)
    assert.match(done.stderr, /^no progress was kept: the file system is read-only\n/)
    assert.match(done.stdout.toString(), /importing again from the start stores the same records/)
    assert.deepEqual([...store.data.keys()], ['a'])
  })
})

describe('standard input', () => {
  test('is read as JSON lines, or as told', async t => {
    const { store, run } = setUp(t)
    assert.equal((await run([], { stdin: '{"key":"a","value":"1"}\n' })).code, 0)
    assert.equal((await run(['-', '--format', 'tsv'], { stdin: 'b\t2' })).code, 0)
    assert.deepEqual([...store.data.keys()], ['a', 'b'])
  })

  test('is stored while it comes, and a stop ends the waiting', async t => {
    const { store } = setUp(t)
    const stdin = new PassThrough()
    const started = startCli(['import', '--json'], { store, stdin })
    stdin.write('{"key":"a","value":"1"}\n{"key":"b"')
    while (store.data.size === 0) await yieldToEventLoop()
    started.interrupt('SIGTERM')
    const done = await started.done
    assert.equal(done.code, 143)
    assert.equal(jsonOf(done)['records'], 1)
    assert.ok(stdin.destroyed)
  })

  test('can be gone on with when it is the same again, and only then', async t => {
    const { store, run, path } = setUp(t)
    const text = '{"key":"a","value":"1"}\nbad\n'
    const argv = ['--resume-file', path('progress')]
    assert.equal((await run(argv, { stdin: text })).code, 1)
    const short = await run([...argv, '--resume'], { stdin: '{"key":"x"' })
    assert.equal(short.code, 1)
    assert.match(short.stderr, /standard input ends at byte 10, before byte 24 where the import is/)
    const mended = await run([...argv, '--resume'], { stdin: text.replace('bad', '') })
    assert.equal(mended.code, 0)
    assert.deepEqual([...store.data.keys()], ['a'])
    assert.equal(store.batches.length, 1)
    assert.ok(!existsSync(path('progress')))
  })
})

describe('a mistake in the command', () => {
  const MISTAKES: readonly (readonly [string, readonly string[]])[] = [
    ['the name x does not tell its format', ['x']],
    ["unknown format 'xml'", ['x', '--format', 'xml']],
    ['--hex is for csv and tsv', ['x.jsonl', '--hex']],
    ['json has no header', ['x.json', '--header']],
    ['--delimiter means nothing for jsonl', ['x.jsonl', '--delimiter', ',']],
    ["--delimiter '::' is not one ASCII character", ['x.csv', '--delimiter', '::']],
    ["--on-error 'go' is not one of stop, skip", ['x.csv', '--on-error', 'go']],
    ['--rejects means nothing without', ['x.csv', '--rejects', 'y']],
    ['bad records of standard input', ['--on-error', 'skip']],
    ['standard input has no progress of its own', ['-', '--resume']],
    ["--window '0' is not a whole number", ['x.csv', '--window', '0']],
    ["--retry-for 'long' is not a duration", ['x.csv', '--retry-for', 'long']],
    ["--ttl '-1' is not a duration", ['x.csv', '--ttl=-1']],
    ['must differ: x.csv is named twice', ['./x.csv', '--on-error', 'skip', '--rejects', 'x.csv']],
    ['must differ: x.csv is named twice', ['x.csv', '--resume-file', 'y/../x.csv']],
  ]
  for (const [message, argv] of MISTAKES) {
    test(`${argv.join(' ')}: ${message}`, async t => {
      const { store, run } = setUp(t)
      const done = await run([...argv])
      assert.equal(done.code, 2)
      assert.ok(done.stderr.includes(message), done.stderr)
      assert.equal(store.batches.length, 0)
    })
  }

  test('columns that are not there', async t => {
    const { store, write, run } = setUp(t)
    const done = await run([write('x.csv', 'a,b\n1,2\n'), '--key-column', 'id'])
    assert.equal(done.code, 2)
    assert.match(
      done.stderr,
      /the header has no column 'id', only: a, b; name one with --key-column/,
    )
    assert.equal(store.batches.length, 0)
  })

  test('in a list of commands standard input is taken', async t => {
    const { store } = setUp(t)
    const done = await runCli([], { store, stdin: 'import --format csv\na,1\n' })
    assert.equal(done.code, 2)
    assert.match(done.stderr, /name the file to import: standard input holds the commands here/)
  })

  test('a progress file that is none', async t => {
    const { write, run } = setUp(t)
    for (const [content, message] of [
      ['{', 'is not a progress file\n'],
      ['{"version":9}', 'is not a progress file of this version\n'],
    ] as const) {
      write('x.csv.import-progress', content)
      const done = await run([write('x.csv', 'a,1\n'), '--resume'])
      assert.equal(done.code, 2)
      assert.ok(done.stderr.includes(message), done.stderr)
    }
  })
})

test('with no server nothing is tried', async t => {
  const { write, path } = setUp(t)
  const done = await runCli(['import', write('x.csv', 'a,1\n')])
  assert.equal(done.code, 3)
  assert.equal(done.stdout.length, 0)
  assert.ok(!existsSync(path('x.csv.import-progress')))
})

test('on a terminal there is a bar, and notes stand above it', async t => {
  const { store, write, run } = setUp(t)
  const file = write('x.csv', 'key,value\na,1\nbad\n')
  const { stderr, code } = await run([file, '--on-error', 'skip'], { columns: 70 })
  assert.equal(code, 0)
  assert.match(stderr, /^\rimporting {4}0\.0 % {2}/)
  assert.ok(stderr.includes('\r\u001b[Kskipped '))
  assert.ok(stderr.endsWith('\r\u001b[K'))
  assert.equal(store.data.size, 1)
})
