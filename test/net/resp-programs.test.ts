// Goal: the programs that come with Redis work unchanged: redis-cli (one command, a pipe of
// commands, --pipe, --scan, --bigkeys, --latency, --stat) and redis-benchmark.
// Method: they are started against a server over the engine. Skipped where there are none.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { describe, test } from 'node:test'
import { programVersion } from '../support/redis-server.ts'
import { commandOf } from '../support/resp-client.ts'
import { startResp } from '../support/resp-target.ts'

const version = programVersion('redis-cli')
const skip = version === undefined ? 'there is no redis-cli on this machine' : false
const PIPED = 2000

interface Run {
  readonly code: number | null
  readonly output: string
}

/** What a program says until it ends, or until it has said `enough`. */
function run(
  program: string,
  args: readonly string[],
  input: Uint8Array | string = '',
  enough?: RegExp,
): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'pipe' })
    let output = ''
    const took = (chunk: Buffer): void => {
      output += chunk.toString()
      if (enough?.test(output) === true) child.kill()
    }
    child.stdout.on('data', took)
    child.stderr.on('data', took)
    child.stdin.on('error', () => undefined)
    child.on('error', reject)
    child.on('close', code => resolve({ code, output }))
    child.stdin.end(input)
  })
}

describe('programs of Redis', { skip }, () => {
  test('redis-cli: one command, several, with and without answers', async t => {
    const { port } = await startResp(t)
    const cli = (...args: string[]) => run('redis-cli', ['-p', String(port), ...args])
    assert.deepEqual(await cli('set', 'key', 'value'), { code: 0, output: 'OK\n' })
    assert.deepEqual(await cli('get', 'key'), { code: 0, output: 'value\n' })
    assert.deepEqual(await cli('-3', 'get', 'none'), { code: 0, output: '\n' })
    assert.match((await cli('lpush', 'key', 'x')).output, /ERR unknown command/)
    const session = await run(
      'redis-cli',
      ['-p', String(port)],
      'incr n\nincr n\nget n\nhelp get\n',
    )
    assert.match(session.output, /^1\n2\n2\n/)
  })

  test('redis-cli --pipe, --scan, --bigkeys, --latency, --stat', async t => {
    const { port } = await startResp(t)
    const cli = (args: string[], input?: Uint8Array, enough?: RegExp) =>
      run('redis-cli', ['-p', String(port), ...args], input, enough)
    const commands = Array.from({ length: PIPED }, (_, at) => commandOf('set', `key:${at}`, at))
    const piped = await cli(['--pipe'], Buffer.concat(commands))
    assert.match(piped.output, new RegExp(`errors: 0, replies: ${PIPED}`))
    const scanned = await cli(['--scan', '--pattern', 'key:*'])
    assert.equal(new Set(scanned.output.trim().split('\n')).size, PIPED)
    await cli(['set', 'large', 'x'.repeat(10_000)])
    const big = await cli(['--bigkeys'])
    assert.match(big.output, /Biggest string found '"large"' has 10000 bytes/)
    assert.match(big.output, new RegExp(`${PIPED + 1} strings with`))
    const latency = await cli(['--latency', '-i', '0.1', '--raw'])
    assert.match(latency.output, /^\d+ \d+ /)
    // Its output comes in blocks.
    const stat = await cli(['--stat', '-i', '0.01'], undefined, /\n\d+/)
    assert.match(stat.output, /keys +mem +clients/)
  })

  test('redis-benchmark', async t => {
    const { port } = await startResp(t)
    const args = ['-p', String(port), '-t', 'ping,set,get,incr,mset', '-n', '1000', '-c', '20']
    for (const more of [['--csv'], ['--csv', '-P', '16']]) {
      const { code, output } = await run('redis-benchmark', [...args, ...more])
      assert.equal(code, 0, output)
      for (const name of ['PING_MBULK', 'SET', 'GET', 'INCR', 'MSET']) {
        assert.match(output, new RegExp(`"${name}`))
      }
      assert.doesNotMatch(output, /error/i)
    }
  })
})
