// Goal: a local cluster has certificates and users at every door of every node and between them
// when `kvd dev` is told of them, tells clients the right addresses, and says what is wrong with a
// certificate by which its nodes could never meet, before it starts any.
// Method: the program itself on a real directory and real ports; certificates made on the spot.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { connect } from '../../src/index.ts'
import { Authority } from '../support/certificates.ts'
import { DevProcess } from '../support/dev-process.ts'
import { programArguments } from '../support/kvd-process.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const BASE_PORT = 23_000 + (process.pid % 50) * 20
const HTTP_PORT = BASE_PORT + 1000
const PORTS = ['--port', String(BASE_PORT), '--http-port', String(HTTP_PORT)]
const authority = new Authority('an authority')
const directory = temporaryDirectory({ after })

function written(name: string, text: string): string {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

/** Flags of a certificate that names these. */
function certified(...names: readonly string[]): string[] {
  const { cert, key } = authority.issue({ names })
  const files = { cert, key, ca: authority.cert }
  return Object.entries(files).flatMap(([what, text]) => {
    return [`--tls-${what}`, written(`${names[0]}-${what}.pem`, text)]
  })
}

function kvd(args: readonly string[], input = '') {
  const program = [...programArguments('kvd', 'sources'), ...args]
  return spawnSync(process.execPath, program, { input, encoding: 'utf8' })
}

/** Status of the answer. */
function status(port: number, auth: string): Promise<number | undefined> {
  const options = { host: '127.0.0.1', port, path: '/v1/kv/app:a', ca: authority.cert, auth }
  return new Promise((resolve, reject) => {
    get(options, answer => {
      answer.resume()
      resolve(answer.statusCode)
    }).once('error', reject)
  })
}

describe('kvd dev with certificates and users', () => {
  test('has them at every node, and between them', async t => {
    const users = join(directory, 'users.json')
    const add = ['user', 'add', 'ada', '--grant', 'read,write:app:', '--users-file', users]
    assert.equal(kvd(add, 'of ada\n').status, 0)
    const owner = written('password', 'of all\n')
    const flags = [...certified('127.0.0.1'), '--users-file', users, '--password-file', owner]
    const dev = await DevProcess.serving(join(directory, 'cluster'), [...PORTS, ...flags])
    t.after(() => dev.child.kill('SIGKILL'))

    const url = await dev.url()
    assert.match(url, /^kvs:\/\/127\.0\.0\.1:\d+,127\.0\.0\.1:\d+,127\.0\.0\.1:\d+$/)
    assert.match(dev.text, /dashboard {3}https:\/\/127\.0\.0\.1:/)
    assert.match(
      dev.text,
      /DURAMEN_TLS_CA=\S+-ca\.pem DURAMEN_PASSWORD=\.\.\. npx kvcli --url kvs:/,
    )
    const tls = { ca: authority.cert }
    const all = await connect(url, { password: 'of all', tls })
    await all.put('app:a', '1', { consistency: 'all' })
    await all.put('other', '1')
    await all.close()
    const ada = await connect(url, { user: 'ada', password: 'of ada', tls })
    assert.equal(Buffer.from((await ada.get('app:a'))!).toString(), '1')
    await assert.rejects(ada.get('other'), { code: 'KV_PERMISSION' })
    await ada.close()
    for (const at of [0, 1, 2]) {
      assert.equal(await status(HTTP_PORT + at, 'ada:of ada'), 200)
      assert.equal(await status(HTTP_PORT + at, 'ada:wrong'), 401)
    }
    await assert.rejects(connect(url, { password: 'wrong', tls }), { code: 'KV_AUTHENTICATION' })
    await assert.rejects(connect(url, { password: 'of all' }), /certificate/)
    dev.child.kill('SIGTERM')
    assert.equal(await dev.exited, 'code 0')
  })

  test('starts no nodes whose certificate the others would refuse', () => {
    const run = kvd(['dev', '--dir', join(directory, 'wrong'), ...certified('example.org')])
    assert.equal(run.status, 2)
    assert.match(
      run.stderr,
      /org-cert\.pem does not name 127\.0\.0\.1, where these nodes reach each/,
    )
    const half = kvd(['dev', '--dir', join(directory, 'wrong'), '--tls-cert', 'cert.pem'])
    assert.equal(half.status, 2)
    assert.match(half.stderr, /a certificate takes its key/)
  })
})
