// Goal: the OpenAPI document is valid, and says what a running server does, no more and no less;
// and the examples of HTTP.md do what they show.
// Method: a validator of such documents; then every operation is brought to every status that it
// documents, on servers that lack, fail, hang or are full, and each answer is held against its
// schema. The commands of HTTP.md are run by a shell.
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { startNode } from '../../src/cluster/index.ts'
import { OverloadedError } from '../../src/errors.ts'
import { openapiDocument } from '../../src/net/http/openapi.ts'
import { PATHS } from '../../src/net/http/routes.ts'
import { startHttp } from '../support/http-target.ts'
import { MemoryHandler } from '../support/memory-handler.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

interface MediaType {
  readonly schema: object
}

interface Operation {
  readonly operationId: string
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, MediaType>> }>
  >
}

type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>

const METHODS = ['get', 'head', 'put', 'post', 'delete'] as const
const OPENAPI = openapiDocument('1.2.3') as { readonly paths: Paths }
const JSON_BODY = { 'content-type': 'application/json' }

interface Documented {
  readonly method: string
  readonly path: string
  readonly operation: Operation
}

const OPERATIONS: readonly Documented[] = Object.entries(OPENAPI.paths).flatMap(([path, item]) =>
  METHODS.filter(method => item[method] !== undefined).map(method => {
    return { method: method.toUpperCase(), path, operation: item[method]! }
  }),
)

interface Sample {
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

function ask(port: number, method: string, { path, headers, body }: Sample): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', method, path, agent: false, headers: { ...headers } }
    const asked = request(options, answer => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('end', () => {
        const { statusCode: status = 0 } = answer
        resolve({ status, headers: answer.headers, body: Buffer.concat(chunks).toString() })
      })
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

/** Holds answers against the document, and knows which of its statuses were seen. */
class Judge {
  readonly #ajv = new Ajv2020({ strict: false })
  readonly seen = new Set<string>()

  constructor() {
    this.#ajv.addSchema({ $id: 'doc', ...OPENAPI })
  }

  check({ method, path, operation }: Documented, { status, headers, body }: Answer): void {
    const where = `${operation.operationId} ${status} ${body}`
    const documented = operation.responses[status]
    assert.ok(documented, `not documented: ${where}`)
    this.seen.add(`${operation.operationId} ${status}`)
    if (method === 'HEAD' || documented.content === undefined) {
      assert.equal(body, '', where)
      return
    }
    const type = headers['content-type']?.split(';')[0] ?? ''
    assert.ok(documented.content[type], `content-type ${type}: ${where}`)
    const pointer = [path, method.toLowerCase(), 'responses', `${status}`, 'content', type]
    const escaped = pointer.map(part => part.replaceAll('~', '~0').replaceAll('/', '~1'))
    const validate = this.#ajv.compile({
      $ref: `doc#/paths/${escaped.map(encodeURIComponent).join('/')}/schema`,
    })
    const isLines = type === 'application/x-ndjson'
    const isJson = type === 'application/json'
    const values = isLines ? body.trim().split('\n').filter(Boolean) : [body]
    for (const value of values) {
      const parsed: unknown = isLines || isJson ? JSON.parse(value) : value
      assert.ok(validate(parsed), `${where}: ${JSON.stringify(validate.errors)}`)
    }
  }
}

const SAMPLES: Readonly<Record<string, Sample>> = {
  putKey: { body: 'x' },
  batch: { body: '[{"key":"a","value":"1"}]', headers: JSON_BODY },
}

function sampleOf({ path, operation }: Documented): Sample {
  return { path: path.replace('{key}', 'a'), ...SAMPLES[operation.operationId] }
}

/** A handler whose every method fails as it is told to. */
function failing(fail: () => Promise<never>): MemoryHandler {
  const handler = new MemoryHandler()
  const methods = [
    ...['get', 'put', 'delete', 'batch', 'openScan', 'admin', 'metrics', 'health', 'stats'],
    'ownership',
  ]
  return Object.assign(handler, Object.fromEntries(methods.map(name => [name, fail])))
}

test('the document is valid, and lists the paths and methods that there are', async () => {
  const result = await new Validator().validate(structuredClone(OPENAPI))
  assert.deepEqual(result.errors, undefined)
  assert.equal(result.valid, true)
  const listed = OPERATIONS.map(({ method, path }) => `${method} ${path}`).sort()
  const routed = PATHS.flatMap(({ path, methods }) => {
    return Object.keys(methods).map(method => `${method} ${path}`)
  })
  assert.deepEqual(listed, routed.sort())
})

test('every operation has every status that is documented, and no other', async t => {
  const judge = new Judge()
  // Hooks run in their order: the directory goes when nothing uses it any more.
  const removals: (() => void)[] = []
  const root = temporaryDirectory({ after: remove => removals.push(remove) })
  const node = await startNode({ directory: join(root, 'data'), port: 0, http: { port: 0 } })
  t.after(async () => {
    await node.close({ graceMs: 0 })
    for (const remove of removals) remove()
  })
  const { port } = node.httpAddress!
  const memory = await startHttp(t, { handler: new MemoryHandler() })
  const guarded = await startHttp(t, {
    handler: new MemoryHandler(),
    credentials: { password: 'x' },
  })
  const broken = await startHttp(t, { handler: failing(() => Promise.reject(new TypeError('x'))) })
  const busy = failing(() => Promise.reject(new OverloadedError('x', 1)))
  const overloaded = await startHttp(t, {
    handler: Object.assign(busy, { health: () => [{ name: 'x', isOk: false }] }),
  })
  const hanging = await startHttp(t, {
    handler: failing(() => new Promise(() => undefined)),
    limits: { budgetDefaultMs: 1 },
  })
  const full = await startHttp(t, {
    handler: new MemoryHandler(),
    // The one that is held says nothing for as long as the test takes.
    limits: { connectionsMax: 1, handshakeTimeoutMs: 60_000 },
  })
  const held = connect({ port: full.port, host: '127.0.0.1' })
  await new Promise(resolve => held.once('connect', resolve))
  t.after(() => held.destroy())
  const byId = new Map(OPERATIONS.map(each => [each.operation.operationId, each]))
  const expect = async (on: number, id: string, status: number, sample: Sample = {}) => {
    const documented = byId.get(id)!
    const full = { ...sampleOf(documented), ...sample }
    const answer = await ask(on, documented.method, full)
    assert.equal(answer.status, status, `${id}: ${answer.body}`)
    judge.check(documented, answer)
    return answer
  }
  for (const id of ['getKey', 'headKey']) await expect(port, id, 404)
  await expect(port, 'putKey', 204)
  const { headers } = await expect(port, 'getKey', 200)
  for (const id of ['getKey', 'headKey']) {
    await expect(port, id, 200)
    await expect(port, id, 304, { headers: { 'if-none-match': headers.etag! } })
    await expect(port, id, 412, { headers: { 'if-match': '"00"' } })
  }
  for (const id of ['putKey', 'deleteKey']) {
    await expect(port, id, 412, { headers: { 'if-match': '"00"' } })
    await expect(memory.port, id, 501, { headers: { 'if-match': '"00"' } })
  }
  await expect(port, 'putKey', 413, { body: Buffer.alloc((8 << 20) + 1) })
  await expect(port, 'deleteKey', 204)
  await expect(port, 'batch', 200)
  await expect(port, 'batch', 413, { body: ' '.repeat(70_000) })
  await expect(port, 'batch', 415, { headers: { 'content-type': 'text/plain' } })
  for (const documented of OPERATIONS) {
    const { operationId: id, responses } = documented.operation
    if (!judge.seen.has(`${id} 200`) && '200' in responses) await expect(port, id, 200)
    await expect(port, id, 400, { path: `${sampleOf(documented).path}?nonsense` })
    const strange = { ...sampleOf(documented).headers, host: 'evil.example' }
    await expect(port, id, 403, { headers: strange })
    const servers = [
      ['401', guarded.port],
      ['500', broken.port],
      ['503', id.startsWith('readyz') ? overloaded.port : full.port],
      ['504', hanging.port],
    ] as const
    for (const [status, on] of servers) {
      // A scan has an hour, unless it is told otherwise.
      const sample = status === '504' && id === 'scan' ? { path: '/v1/kv?timeout=1ms' } : {}
      if (status in responses) await expect(on, id, Number(status), sample)
    }
  }
  await expect(overloaded.port, 'getKey', 503)
  await expect(full.port, 'readyz', 503)
  const all = OPERATIONS.flatMap(({ operation }) => {
    return Object.keys(operation.responses).map(status => `${operation.operationId} ${status}`)
  })
  assert.deepEqual(judge.seen, new Set(all))
})

const HAS_CURL = spawnSync('curl', ['--version']).status === 0
const FENCE = /```sh\n([\s\S]*?)```/g

test('the examples of HTTP.md do what they show', { skip: !HAS_CURL }, async t => {
  const { url } = await startHttp(t)
  const directory = temporaryDirectory({ after: remove => t.after(() => remove()) })
  writeFileSync(join(directory, 'photo.jpg'), Buffer.from([0xff, 0xd8, 0]))
  for (const [key, value] of [
    ['user%3A1', 'Ada'],
    ['user%3A%FF', Buffer.from([0xff, 1])],
    ['b', 'x'],
  ] as const) {
    await fetch(`${url}/v1/kv/${key}`, { method: 'PUT', body: value })
  }
  const page = readFileSync('src/net/http/HTTP.md', 'utf8')
  const blocks = [...page.matchAll(FENCE)].map(([, text = '']) => text)
  assert.ok(blocks.length >= 4)
  for (const block of blocks) {
    const lines = block.trimEnd().split('\n')
    const commands = lines.filter(line => /^\s*(?:curl|printf) /.test(line))
    const shown = lines.filter(line => !commands.includes(line))
    const script = commands
      .join('\n')
      .replaceAll('http://127.0.0.1:7780', url)
      .replaceAll('curl ', 'curl --silent --show-error --globoff ')
    const { stdout, stderr } = await promisify(execFile)('sh', ['-ec', script], { cwd: directory })
    assert.equal(stderr, '', script)
    if (shown.length > 0) assert.equal(stdout.trimEnd(), shown.join('\n'), script)
  }
  assert.equal((await fetch(`${url}/v1/kv/lock`)).status, 200)
  assert.equal((await fetch(`${url}/v1/kv/b`)).status, 404)
  assert.deepEqual(readFileSync(join(directory, 'photo.jpg')), Buffer.from([0xff, 0xd8, 0]))
})
