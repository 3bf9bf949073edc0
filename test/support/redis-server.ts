/** The redis-server of this machine, where it has one: on a socket, with nothing on disk. */
import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { delay, systemClock } from '../../src/clock.ts'
import { RespClient } from './resp-client.ts'
import { temporaryDirectory } from './temp-directory.ts'

const START_MS_MAX = 10_000

/** The first line of `name --version`; undefined when there is no such program. */
export function programVersion(name: string): string | undefined {
  try {
    return execFileSync(name, ['--version'], { encoding: 'utf8', stdio: 'pipe' }).split('\n')[0]
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** Where it listens. It ends with the test. */
export async function startRedis(t: TestContext): Promise<string> {
  const directory = temporaryDirectory(t)
  const path = join(directory, 'redis.sock')
  const args = ['--port', '0', '--unixsocket', path, '--save', '', '--dir', directory]
  const child = spawn('redis-server', args, { stdio: 'ignore' })
  t.after(() => child.kill('SIGKILL'))
  const clock = systemClock()
  const endMs = clock.monotonicMs() + START_MS_MAX
  // Its socket is there a moment before it listens.
  for (;;) {
    try {
      const client = await RespClient.connect(path)
      await client.ask('ping')
      client.end()
      return path
    } catch (cause) {
      if (clock.monotonicMs() > endMs) throw new Error('redis-server did not start', { cause })
      await delay(clock, 10)
    }
  }
}
