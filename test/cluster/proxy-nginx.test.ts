// Goal: the configurations of docs/nginx work as they are: nginx before two proxies passes on what
// clients of all doors ask, and goes on when one of the proxies is gone.
// Method: the real nginx with the documents themselves, but for their ports; skipped, aloud, where
// there is none (Debian: nginx, libnginx-mod-stream).
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { delay, systemClock } from '../../src/clock.ts'
import { type RunningProxy, startNode, startProxy } from '../../src/cluster/index.ts'
import { connect } from '../../src/net/index.ts'
import { readProjectFile } from '../support/project-files.ts'
import { RespClient } from '../support/resp-client.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so'
const START_MS_MAX = 10_000
const hasNginx = spawnSync('nginx', ['-v']).status === 0 && existsSync(STREAM_MODULE)

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  assert.ok(typeof address === 'object' && address !== null)
  return address.port
}

function withPorts(text: string, ports: ReadonlyMap<number, number>): string {
  return text.replaceAll(/127\.0\.0\.1:(\d+)/g, (whole, port) => {
    const other = ports.get(Number(port))
    return other === undefined ? whole : `127.0.0.1:${other}`
  })
}

/** nginx in a directory of its own, with the two documents. */
function startNginx(directory: string, ports: ReadonlyMap<number, number>): ChildProcess {
  const stream = withPorts(readProjectFile('docs/nginx/stream.conf'), ports)
  const http = withPorts(readProjectFile('docs/nginx/http.conf'), ports)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const main = [
    `load_module ${STREAM_MODULE};`,
    ...['daemon off;', 'master_process off;', 'error_log stderr warn;'],
    `pid ${join(directory, 'nginx.pid')};`,
    'events { worker_connections 1024; }',
    stream,
    'http {',
    'access_log off;',
    ...temporary.map(name => `${name}_temp_path ${join(directory, name)};`),
    http,
    '}',
  ]
  const file = join(directory, 'nginx.conf')
  writeFileSync(file, `${main.join('\n')}\n`)
  return spawn('nginx', ['-p', directory, '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] })
}

async function answers(url: string, output: () => string): Promise<void> {
  const clock = systemClock()
  const endMs = clock.monotonicMs() + START_MS_MAX
  for (;;) {
    try {
      if ((await fetch(url)).status === 200) return
    } catch (error) {
      if (clock.monotonicMs() > endMs) {
        throw new Error(`nginx does not serve: ${output()}`, { cause: error })
      }
    }
    await delay(clock, 20)
  }
}

async function ask(ports: ReadonlyMap<number, number>, name: string): Promise<void> {
  const http = `http://127.0.0.1:${ports.get(8080)}`
  const put = await fetch(`${http}/v1/kv/${name}`, { method: 'PUT', body: name })
  assert.equal(put.status, 204)
  assert.equal(await (await fetch(`${http}/v1/kv/${name}`)).text(), name)
  const redis = await RespClient.connect(ports.get(6379)!)
  assert.equal(await redis.ask('get', name), `$${name.length}\r\n${name}\r\n`)
  redis.end()
  const client = await connect(`kv://127.0.0.1:${ports.get(7700)}`)
  assert.equal(Buffer.from((await client.get(name))!).toString(), name)
  await client.close()
}

async function checkNginx(t: TestContext): Promise<void> {
  const closing: (() => Promise<unknown>)[] = []
  const directory = temporaryDirectory({
    after: remove => {
      t.after(async () => {
        for (const close of closing.reverse()) await close()
        remove()
      })
    },
  })
  const node = await startNode({ directory: join(directory, 'node'), port: 0, partitionCount: 16 })
  closing.push(() => node.close({ graceMs: 0 }))
  const start = async (): Promise<RunningProxy> => {
    const doors = { port: 0, resp: { port: 0 }, http: { port: 0 } }
    const running = await startProxy({ nodes: [node.address], ...doors })
    closing.push(() => running.close({ graceMs: 0 }))
    return running
  }
  const [one, two] = [await start(), await start()]
  const ports = new Map<number, number>([
    ...[[7800, one.address.port] as const, [7810, two.address.port] as const],
    ...[[7801, one.respAddress!.port] as const, [7811, two.respAddress!.port] as const],
    ...[[7802, one.httpAddress!.port] as const, [7812, two.httpAddress!.port] as const],
    ...[[7700, await freePort()] as const, [6379, await freePort()] as const],
    [8080, await freePort()] as const,
  ])
  const nginx = startNginx(directory, ports)
  let output = ''
  nginx.stderr?.on('data', chunk => {
    output += chunk
  })
  closing.push(async () => {
    nginx.kill('SIGTERM')
    if (nginx.exitCode === null && nginx.signalCode === null) await once(nginx, 'exit')
  })
  await answers(`http://127.0.0.1:${ports.get(8080)}/readyz`, () => output)
  await ask(ports, 'both')
  await one.close({ graceMs: 0 })
  // Reads go on at once, and are what tells nginx that a proxy is gone.
  for (let at = 0; at < 4; at++) {
    const found = await fetch(`http://127.0.0.1:${ports.get(8080)}/v1/kv/both`)
    assert.equal(await found.text(), 'both', output)
  }
  await ask(ports, 'one')
}

test(
  'nginx before two proxies, one of which ends',
  {
    skip: hasNginx ? false : 'there is no nginx with its stream module here',
  },
  checkNginx,
)
