// Goal: whatever the door, a user does what it was granted and nothing else; what is refused looks
// the same whether the key exists; a user that is removed loses what it has open; and no password
// reaches the log.
// Method: one node with all its doors. A table of users, doors, actions and keys is run whole, each
// answer held against a model of the grants that shares nothing with the code; credentials are
// mutated by seed.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Node, startNode } from '../../src/cluster/index.ts'
import { KvError } from '../../src/errors.ts'
import type { Logger } from '../../src/logger.ts'
import { Client } from '../../src/net/client.ts'
import { hashPassword, parseUsers, Users } from '../../src/net/index.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { RespClient } from '../support/resp-client.ts'
import { printSeed } from '../support/seed.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

/** As cheap as a hash may be: what it costs is not what is tested. */
const COST = { N: 1024, r: 1, p: 1 }
const OWNER = { user: 'owner', password: 'open sesame' }

/** By user; `read:app:` as `kvd user` takes it. */
const GRANTS: Readonly<Record<string, readonly string[]>> = {
  none: [],
  reader: ['read:app:'],
  writer: ['write:app:'],
  both: ['read,write:app:'],
  twoPlaces: ['read:app:', 'write:log:'],
  readsAll: ['read'],
  watcher: ['monitor'],
  operator: ['admin'],
  root: ['read,write,admin'],
}
const NAMES = Object.keys(GRANTS)
const PREFIXES = ['app:', 'log:', 'ap', '']
const passwordOf = (name: string): string => `secret of ${name}`

async function recordsOf(names: readonly string[], salt = 1) {
  const users = await Promise.all(
    names.map(async name => ({
      name,
      password: await hashPassword(passwordOf(name), new Uint8Array(16).fill(salt), COST),
      grants: (GRANTS[name] ?? []).map(grant => {
        const colon = grant.indexOf(':')
        if (colon < 0) return { actions: grant.split(',') }
        return { actions: grant.slice(0, colon).split(','), prefix: grant.slice(colon + 1) }
      }),
    })),
  )
  return parseUsers(JSON.stringify({ format: 1, users }), 'users.json')
}

type Action =
  | ('get' | 'put' | 'delete' | 'batch' | 'scan' | 'count')
  | ('watch' | 'stats' | 'ring' | 'admin')
/** What came back: whether it was refused, and all that can be seen of a refusal. */
interface Outcome {
  readonly isRefused: boolean
  readonly seen: string
}

/** Somebody who has logged in at a door; undefined for what that door does not offer. */
interface Actor {
  act(action: Action, key: string): Promise<Outcome> | undefined
  close(): Promise<void> | void
}

interface Door {
  readonly name: string
  login(node: Node, user: string, password: string): Promise<Actor>
}

async function outcomeOf(call: Promise<unknown>): Promise<Outcome> {
  try {
    return { isRefused: false, seen: String(await call) }
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    return { isRefused: error.code === 'KV_PERMISSION', seen: `${error.code} ${error.message}` }
  }
}

const BINARY: Door = {
  name: 'binary',
  async login({ address }, user, password) {
    const client = new Client({ nodes: [address], user, password, timeoutMs: 10_000 })
    try {
      await client.ready()
    } catch (error) {
      await client.close()
      throw error
    }
    const act = async (action: Action, key: string): Promise<unknown> => {
      switch (action) {
        case 'get':
          return await client.get(key)
        case 'put':
          return await client.put(key, 'new')
        case 'delete':
          return await client.delete(key)
        case 'batch':
          return await client.batch([
            { type: 'put', key, value: 'batch' },
            { type: 'del', key: `${key}x` },
          ])
        case 'scan': {
          const keys = []
          for await (const found of client.keys({ gte: key, lt: `${key}\xff` })) keys.push(found)
          return keys
        }
        case 'count':
          return await client.count({ gte: key, lt: `${key}\xff` })
        case 'stats':
          return await client.stats()
        case 'ring':
          return await client.ringMap()
        case 'admin':
          return await client.admin({ command: 'abort' })
        case 'watch': {
          const prefix = Buffer.from(key).toString('base64')
          return await client.admin({ command: 'changes', prefix })
        }
      }
    }
    return { act: (action, key) => outcomeOf(act(action, key)), close: () => client.close() }
  },
}

const REDIS: Door = {
  name: 'redis',
  async login({ respAddress }, user, password) {
    const client = await RespClient.connect(respAddress!.port)
    const reply = await client.ask('AUTH', user, password)
    if (reply !== '+OK\r\n') {
      client.end()
      throw new Error(reply)
    }
    const commands: Partial<Record<Action, (key: string) => string[]>> = {
      get: key => ['GET', key],
      put: key => ['SET', key, 'new'],
      batch: key => ['MSET', key, 'batch', `${key}x`, 'batch'],
      delete: key => ['DEL', key],
      scan: key => ['SCAN', '0', 'MATCH', `${key}*`],
      count: key => ['KEYS', `${key}*`],
      stats: () => ['INFO'],
      admin: () => ['CONFIG', 'GET', 'maxclients'],
    }
    const ask = async (args: readonly string[]): Promise<Outcome> => {
      const seen = await client.ask(...args)
      return { isRefused: /^-(?:NOPERM|NOAUTH)/.test(seen), seen }
    }
    return {
      act: (action, key) => commands[action] && ask(commands[action](key)),
      close: () => client.end(),
    }
  },
}

const HTTP: Door = {
  name: 'http',
  async login({ httpAddress }, user, password) {
    const base = `http://127.0.0.1:${httpAddress!.port}`
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
    const ask = async (path: string, init: RequestInit = {}): Promise<Outcome> => {
      const headers = { authorization, 'content-type': 'application/json' }
      const answer = await fetch(`${base}${path}`, { ...init, headers })
      const seen = `${answer.status} ${await answer.text()}`
      if (answer.status === 401) throw new Error(seen)
      return { isRefused: answer.status === 403, seen }
    }
    /** Refused is refused everywhere. */
    const askAll = async (paths: readonly string[]): Promise<Outcome> => {
      const outcomes = await Promise.all(paths.map(path => ask(path)))
      assert.equal(new Set(outcomes.map(({ isRefused }) => isRefused)).size, 1, paths.join(' '))
      return outcomes[0]!
    }
    // The first request says whether the password is right.
    await ask('/v1/openapi.json')
    const act = (action: Action, key: string): Promise<Outcome> | undefined => {
      const path = `/v1/kv/${encodeURIComponent(key)}`
      switch (action) {
        case 'get':
          return ask(path)
        case 'put':
          return ask(path, { method: 'PUT', body: 'new' })
        case 'delete':
          return ask(path, { method: 'DELETE' })
        case 'batch': {
          const body = JSON.stringify([{ key, value: 'batch' }])
          return ask('/v1/batch', { method: 'POST', body })
        }
        case 'scan':
          return ask(`/v1/kv?prefix=${encodeURIComponent(key)}`)
        case 'stats':
          return askAll(['/metrics', '/v1/stats', '/v1/events', '/v1/ring', '/v1/cluster'])
        default:
          return undefined
      }
    }
    return { act, close: () => undefined }
  },
}

const DOORS = [BINARY, REDIS, HTTP]

/** Whether it is allowed, from the text of the grants. */
function mayDo(user: string, door: Door, action: Action, key: string): boolean {
  const grants = user === OWNER.user ? GRANTS['root']! : GRANTS[user]!
  const has = (wanted: string): boolean => {
    return grants.some(grant => {
      const [actions = '', ...prefix] = grant.split(':')
      const isMeant = key.startsWith(prefix.join(':'))
      return actions.split(',').includes(wanted) && isMeant
    })
  }
  switch (action) {
    case 'get':
    case 'scan':
    case 'count':
    case 'watch':
      return has('read')
    case 'put':
    case 'batch':
      return has('write')
    case 'delete':
      // DEL replies how many there were.
      return has('write') && (door !== REDIS || has('read'))
    case 'ring':
      return true
    case 'stats':
      return grants.some(grant => /monitor|admin/.test(grant))
    case 'admin':
      return grants.some(grant => grant.includes('admin'))
  }
}

describe('users at all doors', () => {
  let node: Node
  let users: Users
  let remove = (): void => undefined
  const lines: string[] = []
  const log: Logger['info'] = (message, fields) => {
    lines.push(JSON.stringify({ message, ...fields }))
  }
  const logger: Logger = { debug: log, info: log, warn: log, error: log }

  before(async () => {
    users = new Users(await recordsOf(NAMES))
    const directory = temporaryDirectory({
      after: now => {
        remove = now
      },
    })
    node = await startNode({
      ...{ directory, port: 0, partitionCount: 16, durability: 'none', logger, users },
      credentials: OWNER,
      resp: { port: 0 },
      http: { port: 0 },
    })
  })

  after(async () => {
    await node.close({ graceMs: 0 })
    remove()
  })

  /** Keys of a door's own, so that all doors are tried at the same time. */
  const keyOf = (door: Door, prefix: string, name: string) => `${prefix}${door.name}:${name}`

  async function setUp(by: Client, door: Door): Promise<void> {
    await by.batch(
      PREFIXES.flatMap(prefix => [
        { type: 'put' as const, key: keyOf(door, prefix, 'there'), value: 'old' },
        { type: 'del' as const, key: keyOf(door, prefix, 'absent') },
      ]),
    )
  }

  async function contents(by: Client, door: Door): Promise<string> {
    const keys = PREFIXES.flatMap(prefix => {
      return ['there', 'absent'].map(name => keyOf(door, prefix, name))
    })
    return JSON.stringify(await by.getMany(keys))
  }

  async function checkUser(user: string, door: Door, by: Client): Promise<void> {
    const actor = await door.login(
      node,
      user,
      user === OWNER.user ? OWNER.password : passwordOf(user),
    )
    await setUp(by, door)
    const before = await contents(by, door)
    let mayHaveWritten = false
    for (const prefix of PREFIXES) {
      for (const action of ['get', 'put', 'delete', 'batch'] as const) {
        const isAllowed = mayDo(user, door, action, prefix)
        const [there, absent] = await Promise.all(
          ['there', 'absent'].map(name => actor.act(action, keyOf(door, prefix, name))),
        )
        const what = `${user} ${action} ${prefix} at ${door.name}`
        assert.equal(there?.isRefused, !isAllowed, `${what}: ${there?.seen}`)
        assert.equal(absent?.isRefused, !isAllowed, `${what}: ${absent?.seen}`)
        if (!isAllowed) assert.equal(there?.seen, absent?.seen, what)
        else if (action !== 'get') mayHaveWritten = true
      }
      for (const action of ['scan', 'count', 'watch', 'stats', 'ring', 'admin'] as const) {
        const outcome = await actor.act(action, prefix)
        if (outcome === undefined) continue
        const what = `${user} ${action} ${prefix} at ${door.name}: ${outcome.seen}`
        assert.equal(outcome.isRefused, !mayDo(user, door, action, prefix), what)
      }
    }
    if (!mayHaveWritten) assert.equal(await contents(by, door), before, `${user} at ${door.name}`)
    await actor.close()
  }

  test('each does what it may, and a refusal tells nothing', { timeout: 60_000 }, async () => {
    const by = new Client({ nodes: [node.address], ...OWNER })
    for (const user of [...NAMES, OWNER.user]) {
      await Promise.all(DOORS.map(door => checkUser(user, door, by)))
    }
    await by.close()
    const audited = lines.filter(line => line.includes('"message":"audit"'))
    assert.ok(audited.some(line => line.includes('"event":"refused"')))
    // One line each: the door's own notice is of what the audit does not have.
    assert.ok(!lines.some(line => line.includes('KV_PERMISSION')))
    assert.ok(audited.some(line => line.includes('"event":"admin"') && line.includes('"root"')))
  })

  test('Redis: a pipeline, a transaction and a cursor are no way around', async () => {
    const client = await RespClient.connect(node.respAddress!.port)
    const words = (...args: string[]) => client.ask(...args)
    assert.match(await words('HELLO', '2', 'AUTH', 'both', passwordOf('both')), /redis/)
    assert.equal(await words('ACL', 'WHOAMI'), '$4\r\nboth\r\n')
    const noKey = /^-NOPERM this user has no permissions to access one of the keys/
    client.socket.write('SET app:a 1\r\nSET log:a 1\r\nSET app:b 1\r\nGET log:a\r\n')
    const [first = '', second = '', third = '', fourth = ''] = await client.take(4)
    assert.deepEqual([first, third], ['+OK\r\n', '+OK\r\n'])
    assert.match(second, noKey)
    assert.match(fourth, noKey)
    for (const command of [['MULTI'], ['SET', 'app:a', '2'], ['GET', 'log:a']]) {
      assert.match(await words(...command), /^\+/)
    }
    assert.match(await words('EXEC'), noKey)
    assert.equal(await words('GET', 'app:a'), '$1\r\n1\r\n')
    for (const command of [
      ['RENAME', 'app:a', 'log:z'],
      ['COPY', 'log:there', 'app:c'],
      ['WATCH', 'log:a'],
      ['EXISTS', 'log:a'],
      ['SCAN', '0'],
      ['RANDOMKEY'],
      ['FLUSHALL'],
    ]) {
      assert.match(await words(...command), noKey, command.join(' '))
    }
    for (const command of [['DBSIZE'], ['INFO'], ['CLIENT', 'LIST'], ['SLOWLOG', 'GET']]) {
      assert.match(await words(...command), /^-NOPERM this user has no permissions to run/)
    }
    assert.match(await words('AUTH', 'both', 'wrong'), /^-WRONGPASS/)
    assert.equal(await words('ACL', 'WHOAMI'), '$4\r\nboth\r\n')
    assert.equal(await words('RESET'), '+RESET\r\n')
    assert.match(await words('GET', 'app:a'), /^-NOAUTH/)
    client.end()
  })

  test('a grant that changes holds at once, and who is removed has nothing left', async () => {
    const records = await recordsOf(NAMES)
    const actors = await Promise.all(
      DOORS.map(door => door.login(node, 'both', passwordOf('both'))),
    )
    const outcomes = () => Promise.all(actors.map(actor => actor.act('get', 'app:there')!))
    assert.ok((await outcomes()).every(({ isRefused }) => !isRefused))
    const { grants } = records.find(({ name }) => name === 'reader')!
    const less = { ...records.find(({ name }) => name === 'both')!, grants: [] }
    const others = records.filter(({ name }) => name !== 'both')
    assert.deepEqual(users.replace([...others, less]).changed, ['both'])
    assert.ok((await outcomes()).every(({ isRefused }) => isRefused))
    users.replace([...others, { ...less, grants }])
    assert.ok((await outcomes()).every(({ isRefused }) => !isRefused))
    assert.deepEqual(users.replace(others).removed, ['both'])
    const [binary, redis] = await Promise.all([
      actors[0]!.act('get', 'app:there')!,
      actors[1]!.act('get', 'app:there')!,
      assert.rejects(actors[2]!.act('get', 'app:there')!, /^Error: 401/),
    ])
    assert.match(binary!.seen, /KV_AUTHENTICATION/)
    assert.match(redis!.seen, /NOAUTH|closed/)
    for (const door of DOORS) await assert.rejects(door.login(node, 'both', passwordOf('both')))
    await Promise.all(actors.map(actor => actor.close()))
    users.replace(records)
  })

  test('credentials that are not quite right let nobody in', { timeout: 60_000 }, async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 30; round++) {
      const door = DOORS[random.below(DOORS.length)]!
      const [name, password] = mutated(random)
      await assert.rejects(door.login(node, name, password), `${door.name} ${name}:${password}`)
    }
    for (const door of DOORS) {
      const actor = await door.login(node, 'reader', passwordOf('reader'))
      await actor.close()
    }
    const secrets = [OWNER.password, ...NAMES.map(passwordOf)]
    for (const line of lines) {
      assert.ok(!secrets.some(secret => line.includes(secret)), line)
    }
  })
})

/** A name and a password of which one, at least, is wrong. */
function mutated(random: Random): [name: string, password: string] {
  const name = NAMES[random.below(NAMES.length)]!
  const right = random.below(8) === 0 ? OWNER.password : passwordOf(name)
  const at = random.below(right.length)
  const other = String.fromCharCode(0x21 + random.below(0x5d))
  switch (random.below(5)) {
    case 0:
      return [name, right.slice(0, at) || 'x']
    case 1:
      return [name, `${right}${other}`]
    case 2:
      return [`${name}${other === ':' ? '_' : other}`, right]
    case 3:
      return [name, `${right.slice(0, at)}\x00${right.slice(at + 1)}`]
    default:
      return name === 'root' ? ['none', right] : ['root', passwordOf(name)]
  }
}
