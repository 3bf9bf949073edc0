// Goal: import and export with the real programs over a real socket: what goes in comes out byte
// for byte; a server that is killed and comes back, and Ctrl-C, cost nothing; exit codes and JSON
// are what scripts rely on.
// Method: kvd and kvcli as child processes. Nothing waits for time: the test goes on when the
// programs, or a client of its own, say that they have come so far.
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { compareBytes } from '../../src/bytes.ts'
import { connect } from '../../src/net/index.ts'
import { seededRandom } from '../../src/random.ts'
import {
  type KvdServer,
  type ProcessEnd,
  runKvcli,
  runWithFiles,
  startKvd,
  startProgram,
} from '../support/cli-process.ts'
import { IS_COMPILED } from '../support/project-root.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const COUNT = 5000

/** Keys and values of all kinds of bytes; keys are distinct. */
function makePairs(): [Buffer, Buffer][] {
  const random = seededRandom(7)
  return Array.from({ length: COUNT }, (_, index) => {
    const binary = random.below(4) === 0
    const key = Buffer.from(`${random.below(1000)}/é"${index}`)
    const value = binary ? Buffer.from(random.bytes(random.below(60))) : Buffer.from(`v,\n${index}`)
    return [binary ? Buffer.concat([key, Buffer.of(0xff)]) : key, value]
  })
}

function toLine([key, value]: readonly [Buffer, Buffer]): string {
  const field = (name: string, bytes: Buffer): string => {
    const text = bytes.toString()
    return Buffer.from(text).equals(bytes)
      ? `"${name}":${JSON.stringify(text)}`
      : `"${name}64":"${bytes.toString('base64')}"`
  }
  return `{${field('key', key)},${field('value', value)}}\n`
}

const lineOf = (index: number): string => `{"key":"k${index}","value":"value ${index}"}\n`
const linesOf = (from: number, to: number): string => {
  return Array.from({ length: to - from }, (_, index) => lineOf(from + index)).join('')
}

/** Resolves when a server has more than `count` keys, asking it again and again. */
async function untilCount(url: string, count: number): Promise<void> {
  const client = await connect(url)
  try {
    while ((await client.count()) <= count) {
      // It is being loaded.
    }
  } finally {
    await client.close()
  }
}

describe('with a server', () => {
  const directory = temporaryDirectory({ after })
  const path = (name: string): string => join(directory, name)
  const pairs = makePairs()
  const sorted = [...pairs]
    .sort(([a], [b]) => compareBytes(a, b))
    .map(toLine)
    .join('')
  let server: KvdServer

  before(async () => {
    server = await startKvd(directory)
  })
  after(() => server.stop())

  function run(args: readonly string[], stdin?: string): Promise<ProcessEnd> {
    return runKvcli(['--url', server.url, ...args], directory, stdin)
  }

  test('a file goes in, is counted, and comes out in order, byte for byte', async () => {
    writeFileSync(path('in.jsonl'), pairs.map(toLine).join(''))
    const imported = await run(['import', 'in.jsonl', '--json'])
    assert.equal(imported.code, 0, imported.stderr)
    const result = JSON.parse(imported.stdout.toString()) as Record<string, unknown>
    assert.deepEqual([result['records'], result['complete']], [COUNT, true])
    const [counted, exported] = await Promise.all([
      run(['count', '--json']),
      run(['export', 'out.jsonl']),
    ])
    const count = { count: COUNT, replicasBehind: false }
    assert.deepEqual(JSON.parse(counted.stdout.toString()), count)
    assert.equal(exported.code, 0, exported.stderr)
    assert.ok(readFileSync(path('out.jsonl')).equals(Buffer.from(sorted)))
  })

  test('a table of it, compressed, is the same to another server', async () => {
    const [other, exported] = await Promise.all([
      startKvd(temporaryDirectory({ after })),
      run(['export', 'out.csv.gz']),
    ])
    try {
      assert.equal(exported.code, 0, exported.stderr)
      const there = (args: readonly string[]) => {
        return runKvcli(['--url', other.url, ...args], directory)
      }
      assert.equal((await there(['import', 'out.csv.gz'])).code, 0)
      const again = await there(['export'])
      assert.ok(again.stdout.equals(Buffer.from(sorted)))
    } finally {
      await other.stop()
    }
  })

  test('exit codes say how it went', async () => {
    writeFileSync(path('bad.jsonl'), `${lineOf(1)}nonsense\n`)
    const [bad, unreachable] = await Promise.all([
      run(['import', 'bad.jsonl']),
      runKvcli(['--url', '127.0.0.1:1', 'import', '--json'], directory, lineOf(1)),
    ])
    assert.equal(bad.code, 1)
    assert.match(bad.stderr, /bad\.jsonl, line 2 \(byte \d+\): expected an object/)
    assert.equal(unreachable.code, 3)
    const { error } = JSON.parse(unreachable.stdout.toString()) as { error: { code: string } }
    assert.equal(error.code, 'KV_UNAVAILABLE')
  })
})

test('kill -9 of the server in the middle of an import, which goes on when it is back', async t => {
  const directory = temporaryDirectory(t)
  const server = await startKvd(directory)
  const args = ['--url', server.url, 'import', '--json', '--retry-for', '60s']
  const loading = startProgram('kvcli', args, directory)
  loading.write(linesOf(0, 10_000))
  await untilCount(server.url, 2000)
  await server.kill()
  loading.end(linesOf(10_000, 20_000))
  const again = await startKvd(directory, server.port)
  try {
    const { code, stdout, stderr } = await loading.ended
    assert.equal(code, 0, stderr)
    assert.equal((JSON.parse(stdout.toString()) as { records: number }).records, 20_000)
    const client = await connect(again.url)
    const stored: string[] = []
    for await (const [key, value] of client.entries()) {
      stored.push(
        `{"key":"${Buffer.from(key).toString()}","value":"${Buffer.from(value).toString()}"}\n`,
      )
    }
    await client.close()
    assert.deepEqual(
      new Set(stored),
      new Set(Array.from({ length: 20_000 }, (_, index) => lineOf(index))),
    )
  } finally {
    await again.stop()
  }
})

test('a kill, as Ctrl-C, and on with --resume', async t => {
  const directory = temporaryDirectory(t)
  const server = await startKvd(directory)
  try {
    const args = ['--url', server.url, 'import', 'x.jsonl', '--json']
    writeFileSync(join(directory, 'x.jsonl'), linesOf(0, 50_000))
    const loading = startProgram('kvcli', args, directory)
    await untilCount(server.url, 0)
    // Listened for beside SIGINT, which tests without processes send.
    loading.signal('SIGTERM')
    const { code, stdout } = await loading.ended
    assert.equal(code, 143)
    const first = JSON.parse(stdout.toString()) as { records: number; resumable: boolean }
    assert.ok(first.resumable && first.records > 0 && first.records < 50_000)
    const second = await runKvcli([...args, '--resume'], directory)
    assert.equal(second.code, 0, second.stderr)
    const rest = JSON.parse(second.stdout.toString()) as { records: number }
    assert.equal(first.records + rest.records, 50_000)
    const counted = await runKvcli(['--url', server.url, 'count'], directory)
    assert.equal(counted.stdout.toString(), '50000\n')
    assert.ok(!existsSync(join(directory, 'x.jsonl.import-progress')))
  } finally {
    await server.stop()
  }
})

test('a program that may open too few files to be loaded says so', async t => {
  if (process.platform === 'win32') return t.skip('there is no such limit')
  if (!IS_COMPILED) return t.skip('the loader of TypeScript needs files of its own')
  for (const program of ['kvd', 'kvcli'] as const) {
    const { code, stderr } = await runWithTooFewFiles(program)
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`^${program}: too many files are open to load the program`))
    assert.match(stderr, /ulimit -n/)
    assert.doesNotMatch(stderr, /^ +at /m, 'no stack')
  }
})

/** With one less each time, the first run that ends badly: further down Node does not start. */
async function runWithTooFewFiles(program: 'kvd' | 'kvcli') {
  for (let files = 22; ; files--) {
    const end = await runWithFiles(program, files)
    if (end.code !== 0) return end
  }
}
