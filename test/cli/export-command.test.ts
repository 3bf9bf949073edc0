// Goal: the command as a user meets it: what is written where, what is told, how it ends, and that
// a file is there whole or not at all; what it writes, import reads.
// Method: kvcli in this process with real files in a temporary directory and a store in memory.
import assert from 'node:assert/strict'
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { IoError, UnavailableError } from '../../src/errors.ts'
import { type CliRun, type CliRunOptions, runCli, startCli } from '../support/cli-run.ts'
import { MemoryRemote } from '../support/memory-remote.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const PAIRS: readonly (readonly [string, string])[] = [
  ['a', '1'],
  ['b\xff', '\n"'],
  ['user:1', '\xc3\xa9'],
  ['user:2', ''],
]

function setUp(t: TestContext) {
  const directory = temporaryDirectory(t)
  const store = new MemoryRemote()
  for (const [key, value] of PAIRS) store.data.set(key, value)
  const path = (name: string): string => join(directory, name)
  const run = (argv: string[], options: CliRunOptions = {}): Promise<CliRun> => {
    return runCli(['export', ...argv], { store, ...options })
  }
  return { store, directory, path, run }
}

const JSONL =
  '{"key":"a","value":"1"}\n{"key64":"Yv8=","value":"\\n\\""}\n' +
  '{"key":"user:1","value":"é"}\n{"key":"user:2","value":""}\n'

describe('to standard output', () => {
  test('go the records and nothing else', async t => {
    const { run } = setUp(t)
    const done = await run([])
    assert.equal(done.code, 0)
    assert.equal(done.stdout.toString(), JSONL)
    assert.match(done.stderr, /^exported 4 records \(114 B\) in /)
  })

  test('also with --json: the result goes to stderr', async t => {
    const { run } = setUp(t)
    const done = await run(['-', '--json', '--prefix', 'user:'])
    assert.equal(done.stdout.toString(), JSONL.split('\n').slice(2).join('\n'))
    const { seconds: _, ...result } = JSON.parse(done.stderr) as Record<string, unknown>
    const counts = { records: 2, bytes: 14, written: 58 }
    assert.deepEqual(result, { ...counts, complete: true, replicasBehind: false })
  })

  test('on a terminal there is a bar when the data goes elsewhere', async t => {
    const { run } = setUp(t)
    const { stderr } = await run([], { columns: 80 })
    assert.match(stderr, /^\rexporting {2}0 records/)
  })
})

describe('to a file', () => {
  test('in the format of its name, compressed when the name says so', async t => {
    const { run, path, directory } = setUp(t)
    for (const name of ['x.jsonl', 'x.json', 'x.csv', 'x.tsv', 'x.jsonl.gz']) {
      const done = await run([path(name)])
      assert.equal(done.code, 0, done.stderr)
      assert.match(done.stdout.toString(), /^exported 4 records \(.+\) to .*x\.\w+(\.gz)? in /)
      const store = new MemoryRemote()
      assert.equal((await runCli(['import', path(name)], { store })).code, 0)
      assert.deepEqual([...store.data], PAIRS, name)
    }
    assert.equal(gunzipSync(readFileSync(path('x.jsonl.gz'))).toString(), JSONL)
    assert.deepEqual(
      readdirSync(directory).filter(name => name.endsWith('.partial')),
      [],
    )
  })

  test('with the options of the table', async t => {
    const { run, path } = setUp(t)
    const argv = [path('x.csv'), '--no-header', '--delimiter', ';', '--hex', '--prefix', '62']
    assert.equal((await run(argv)).code, 0)
    assert.equal(readFileSync(path('x.csv'), 'utf8'), '62ff;0a22\n')
  })

  test('in the order that is asked for, and only what is asked for', async t => {
    const { store, run, path } = setUp(t)
    await run([path('x.jsonl')])
    await run([path('y.jsonl'), '--unordered', '--gt', 'a', '--lte', 'user:1'])
    assert.equal(store.scans[0]?.order, 'ordered')
    assert.equal(store.scans[1]?.order, 'unordered')
    assert.equal(readFileSync(path('y.jsonl'), 'utf8').trimEnd().split('\n').length, 2)
  })

  test('one that is there is replaced when the new one is whole, and not before', async t => {
    const { store, run, path } = setUp(t)
    writeFileSync(path('x.jsonl'), 'old')
    store.onPage = () => {
      assert.equal(readFileSync(path('x.jsonl'), 'utf8'), 'old')
      return Promise.resolve()
    }
    await run([path('x.jsonl'), '--force'])
    assert.equal(readFileSync(path('x.jsonl'), 'utf8'), JSONL)
  })

  test('one that is there is not touched without --force', async t => {
    const { run, path, directory } = setUp(t)
    writeFileSync(path('x.jsonl'), 'old')
    const done = await run([path('x.jsonl')])
    assert.equal(done.code, 1)
    assert.match(
      done.stderr,
      /x\.jsonl exists already .*\n {2}-> add --force to replace it, or name/,
    )
    assert.equal(readFileSync(path('x.jsonl'), 'utf8'), 'old')
    assert.deepEqual(readdirSync(directory), ['x.jsonl'])
  })

  test('a link stays one; a device is written to as it is', async t => {
    const { run, path } = setUp(t)
    writeFileSync(path('real.jsonl'), 'old')
    symlinkSync(path('real.jsonl'), path('link.jsonl'))
    await run([path('link.jsonl'), '--force'])
    assert.ok(lstatSync(path('link.jsonl')).isSymbolicLink())
    assert.equal(readFileSync(path('real.jsonl'), 'utf8'), JSONL)
    const done = await run(['/dev/null', '--format', 'csv'])
    assert.equal(done.code, 0)
    assert.ok(lstatSync('/dev/null').isCharacterDevice())
  })

  test('a stop leaves none', async t => {
    const { store, path, directory } = setUp(t)
    store.onPage = () => {
      started.interrupt()
      return Promise.resolve()
    }
    const started = startCli(['export', path('x.jsonl')], { store })
    const done = await started.done
    assert.equal(done.code, 130)
    assert.match(done.stdout.toString(), /^stopped after 4 records .*; .*x\.jsonl not made in /)
    assert.deepEqual(readdirSync(directory), [])
  })

  test('a failure leaves none, and says why', async t => {
    const { store, run, path, directory } = setUp(t)
    store.onPage = () => Promise.reject(new UnavailableError('gone'))
    const lost = await run([path('x.jsonl')])
    assert.equal(lost.code, 3)
    assert.match(lost.stderr, /error: gone/)
    const nowhere = await run([path('no/x.jsonl')])
    assert.equal(nowhere.code, 1)
    assert.match(nowhere.stderr, /cannot create .*no\/x\.jsonl\.partial: there is no such file/)
    assert.deepEqual(readdirSync(directory), [])
    assert.equal(store.openScans, 0)
  })

  test('nothing is made when no server answers', async t => {
    const { run, path } = setUp(t)
    assert.equal((await run([path('x.jsonl')], { store: undefined })).code, 3)
    assert.ok(!existsSync(path('x.jsonl.partial')))
  })

  test('a file that cannot be finished is a failure', async t => {
    const { run, path } = setUp(t)
    const full = new IoError('no space is left on the device')
    const files = {
      createOutput: () =>
        Promise.resolve({
          write: () => Promise.resolve(),
          finish: () => Promise.reject(full),
          discard: () => Promise.resolve(),
        }),
    }
    const done = await run([path('x.jsonl')], { files })
    assert.equal(done.code, 1)
    assert.match(done.stderr, /no space is left/)
    assert.equal(done.stdout.toString(), '')
  })
})

test('mistakes in the command touch nothing', async t => {
  const { store, run, directory } = setUp(t)
  for (const [argv, message] of [
    [['x'], 'the name x does not tell its format'],
    [['--hex'], '--hex is for csv and tsv'],
    [['--no-header'], 'jsonl has no header'],
    [['--delimiter', ';'], '--delimiter means nothing for jsonl'],
    [['--gt', 'a', '--gte', 'b'], '--gt'],
  ] as const) {
    const done = await run([...argv])
    assert.equal(done.code, 2, done.stderr)
    assert.ok(done.stderr.includes(message), done.stderr)
  }
  assert.equal(store.scans.length, 0)
  assert.deepEqual(readdirSync(directory), [])
})
