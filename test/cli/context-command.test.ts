// Goal: which server a command goes to, and with what, is the first that says so; what a context
// holds for its own servers goes to no other; and nobody's file of contexts is lost.
// Method: whole runs over files in memory; every way to name a server against every other, with the
// order written down once; files damaged in every member.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Context, decodeContexts, encodeContexts } from '../../src/cli/contexts-file.ts'
import { ExitCode } from '../../src/cli/exit-code.ts'
import type { ConnectOptions } from '../../src/cli/remote-store.ts'
import { CliHarness, LIVING_PID, runCli, ShellHarness } from '../support/cli-harness.ts'
import { MemoryCliFiles } from '../support/memory-cli-files.ts'

const PATH = '/config/kvcli/contexts.json'

const PROD = {
  url: 'kvs://ada@prod:1',
  passwordFile: '/secrets/prod',
  consistency: 'quorum',
  tls: { ca: '/tls/ca.pem' },
} as const
const SECRETS = { '/secrets/prod': 'geheim\n', '/tls/ca.pem': 'CA', '/tls/other.pem': 'OTHER' }

function fileOf(contexts: Readonly<Record<string, unknown>>, inUse?: string): string {
  return JSON.stringify({ version: 1, inUse, contexts })
}

function filesWith(inUse?: string): MemoryCliFiles {
  const contexts = { prod: PROD, test: { url: 'kv://test:2' } }
  return new MemoryCliFiles({ [PATH]: fileOf(contexts, inUse), ...SECRETS })
}

async function connectOf(
  argv: string,
  files: MemoryCliFiles,
  env: Readonly<Record<string, string>> = {},
): Promise<ConnectOptions | undefined> {
  const run = await runCli(argv, { files, env })
  return run.connects[0]
}

describe('the server of a command', () => {
  /** The first that is given counts. */
  const WAYS = ['--url', '--context', 'DURAMEN_URL', 'DURAMEN_CONTEXT', 'in use', 'dev'] as const
  const URLS = ['kv://flag:9', 'kv://b:1', 'kv://env:9', 'kv://d:1', 'kv://e:1', 'kv://dev:9']

  test('is the first that is given, of all ways there are', async () => {
    const contexts = { b: { url: URLS[1] }, d: { url: URLS[3] }, e: { url: URLS[4] } }
    for (let given = 0; given < 2 ** WAYS.length; given++) {
      const isGiven = (index: number): boolean => (given & (1 << index)) !== 0
      const dev = JSON.stringify({ pid: LIVING_PID, url: URLS[5] })
      const files = new MemoryCliFiles({
        [PATH]: fileOf(contexts, isGiven(4) ? 'e' : undefined),
        ...(isGiven(5) ? { './duramen-data/dev/running.json': dev } : {}),
      })
      const flags = [isGiven(0) ? `--url ${URLS[0]}` : '', isGiven(1) ? '--context b' : '']
      const env = {
        ...(isGiven(2) ? { DURAMEN_URL: URLS[2]! } : {}),
        ...(isGiven(3) ? { DURAMEN_CONTEXT: 'd' } : {}),
      }
      const run = await runCli(`ping ${flags.join(' ')}`, { files, env })
      const names = WAYS.filter((_, index) => isGiven(index)).join(', ')
      if (isGiven(0) && isGiven(1)) {
        assert.match(run.err, /--url or --context, not both/, names)
        continue
      }
      const expected = URLS.find((_, index) => isGiven(index)) ?? 'kv://127.0.0.1:7700'
      assert.equal(run.connects[0]?.url, expected, names)
    }
  })

  test('has the password, consistency and authorities of its context', async () => {
    const options = await connectOf('ping --context prod', filesWith(), {
      DURAMEN_PASSWORD: 'other',
    })
    assert.equal(options?.url, 'kvs://ada@prod:1')
    assert.deepEqual(
      [options?.password, options?.consistency, options?.tls],
      ['geheim', 'quorum', { ca: 'CA' }],
    )
  })

  test('that is not of a context has nothing of one', async () => {
    for (const argv of ['ping --url kvs://elsewhere:1', 'ping --context test']) {
      const options = await connectOf(argv, filesWith('prod'))
      assert.deepEqual(
        [options?.password, options?.consistency, options?.tls],
        [undefined, undefined, undefined],
        argv,
      )
    }
  })

  test('to which a shell goes has nothing of the context that it began in', async () => {
    const shell = await ShellHarness.started({ argv: '--context prod', files: filesWith() })
    await shell.enter('get a')
    await shell.enter('connect kvs://elsewhere:1')
    assert.deepEqual(
      shell.connects.map(({ url, password, consistency, tls }) => {
        return [url, password, consistency, tls]
      }),
      [
        ['kvs://ada@prod:1', 'geheim', 'quorum', { ca: 'CA' }],
        ['kvs://elsewhere:1', undefined, undefined, undefined],
      ],
    )
  })

  test('has files for TLS by flags, by the context, by variables, in this order', async () => {
    const env = { DURAMEN_TLS_CA: '/tls/other.pem', DURAMEN_TLS_CERT: '/tls/other.pem' }
    const byContext = await connectOf('ping --context prod', filesWith(), env)
    assert.deepEqual(byContext?.tls, { ca: 'CA', cert: 'OTHER' })
    const argv = 'ping --context prod --tls-ca /tls/other.pem --tls-key /tls/ca.pem'
    const byFlag = await connectOf(argv, filesWith(), env)
    assert.deepEqual(byFlag?.tls, { ca: 'OTHER', cert: 'OTHER', key: 'CA' })
  })

  for (const [argv, message, code] of [
    ['ping --context prdo', /no context 'prdo'; did you mean 'prod'\?/, ExitCode.usage],
    ['ping --url kv://a:1 --tls-ca /tls/ca.pem', /--tls-ca .* use a kvs:\/\/ address/, 2],
    ['ping --url kvs://a:1 --tls-ca /nowhere', /cannot read \/nowhere/, ExitCode.failed],
  ] as const) {
    test(`of '${argv}' cannot be told`, async () => {
      const run = await runCli(argv, { files: filesWith() })
      assert.match(run.err, message)
      assert.deepEqual([run.code, run.connects], [code, []])
    })
  }

  test('is not looked at by commands that need none', async () => {
    const files = new MemoryCliFiles({ [PATH]: 'no JSON' })
    for (const argv of ['help', '--version', 'completion bash']) {
      assert.equal((await runCli(argv, { files })).code, ExitCode.ok, argv)
    }
    const ping = await runCli('ping', { files })
    assert.match(ping.err, /cannot use \/config\/kvcli\/contexts.json: it is not JSON; mend it/)
    assert.equal(ping.code, ExitCode.failed)
  })

  test('of a pipe is chosen once', async () => {
    const run = await runCli('', { stdin: 'ping --context prod\n', files: filesWith() })
    assert.match(run.err, /the server is chosen once for all commands/)
  })
})

describe('context', () => {
  test('add, use, list, show and remove', async () => {
    const files = new MemoryCliFiles()
    const line = async (argv: string) => await runCli(argv, { files })
    assert.match((await line('context list')).out, /^none yet: kvcli context add/)
    await line('context add prod --url kvs://ada@p:1 --consistency quorum --tls-ca /ca --use')
    assert.match((await line('context add test --url t:2')).out, /^'test' is kv:\/\/t:2; use it/)
    assert.deepEqual((await line('context list')).out.trimEnd().split('\n'), [
      '   name  address        consistency  password  tls',
      '*  prod  kvs://ada@p:1  quorum                 ca',
      '   test  kv://t:2',
    ])
    assert.match((await line('context show')).out, /^kvs:.*, by the context 'prod', in use\n$/)
    await line('context use test')
    const { json } = await line('context show test --json')
    assert.deepEqual(json, [{ name: 'test', inUse: true, url: 'kv://t:2' }])
    assert.match((await line('context remove test')).out, /forgotten, and no context is in use/)
    await line('context use prod')
    assert.equal((await line('context use')).out, 'no context is in use\n')
    assert.match((await line('context show')).out, /^kv:\/\/127.0.0.1:7700, by nothing/)
  })

  for (const [argv, message] of [
    ['context add', /needs a name/],
    ['context add x', /needs the address: --url/],
    ['context add ../x --url a:1', /'..\/x' is no name of a context/],
    ['context add x --url kv://u:secret@a:1', /a password typed in/],
    ['context add x --url a:1 --tls-ca ca.pem', /use a kvs:\/\/ address/],
    ['context add x --url a:1 --consistency most', /not one of one, quorum, all/],
    ['context add prod --url a:1', /there is a context 'prod' already/],
    ['context use nobody', /no context 'nobody'; there are: prod, test/],
    ['context remove nobody', /no context 'nobody'/],
    ['context list prod', /takes no name/],
    ['context list --force', /--force belongs to context add/],
    ['context lsit', /context does not know 'lsit'/],
  ] as const) {
    test(`'${argv}' is refused, and nothing is written`, async () => {
      const files = filesWith('prod')
      const before = await files.readText(PATH)
      const run = await runCli(argv, { files })
      assert.match(run.err, message)
      assert.notEqual(run.code, ExitCode.ok)
      assert.equal(await files.readText(PATH), before)
    })
  }

  test('needs a place for its file', async () => {
    const harness = new CliHarness({ argv: 'context add x --url a:1' })
    Object.assign(harness.io, { configDirectory: undefined })
    assert.equal(await harness.run(), ExitCode.usage)
    assert.match(harness.err, /no place for contexts/)
  })
})

describe('a file of contexts', () => {
  test('is read as it was written', () => {
    const byName = new Map<string, Context>([
      ['prod', PROD],
      ['test', { url: 'kv://test:2' }],
    ])
    for (const inUse of ['prod', undefined]) {
      assert.deepEqual(decodeContexts(encodeContexts({ inUse, byName }), 'f'), { inUse, byName })
    }
  })

  for (const [text, message] of [
    ['', /not JSON/],
    ['[]', /it is no object/],
    ['{"version":2,"contexts":{}}', /its version is 2, not 1/],
    ['{"version":1}', /'contexts' is no object/],
    ['{"version":1,"contexts":{},"more":1}', /it has 'more', which this kvcli does not know/],
    [fileOf({ a: { url: 'kv://a:1' } }, 'b'), /'inUse' is "b", which is no context/],
    [fileOf({ a: { url: 7 } }), /the context 'a' has no url/],
    [fileOf({ a: { url: 'kv://u:pass@a:1' } }), /a password typed in/],
    [fileOf({ a: { url: 'kv://a:1', passwordFile: '' } }), /'passwordFile' of .* not a path/],
    [fileOf({ a: { url: 'kv://a:1', consistency: 'most' } }), /the consistency "most"/],
    [fileOf({ a: { url: 'kv://a:1', tls: { crt: 'x' } } }), /'tls' of .* has 'crt'/],
    [fileOf({ 'a b': { url: 'kv://a:1' } }), /'a b' is no name/],
  ] as const) {
    test(`of ${text || 'nothing'} is refused`, () => {
      assert.throws(
        () => decodeContexts(text, 'the/file'),
        (error: Error) => {
          assert.match(error.message, /^cannot use the\/file: /)
          assert.match(error.message, message)
          assert.ok(!error.message.includes('pass@'))
          return true
        },
      )
    })
  }
})
