// Goal: an option that is misspelt or of a wrong kind, a path that is none, and a call without its
// arguments are refused with KV_INVALID_ARGUMENT before anything is touched, by every function that
// the engine exports, and never taken for a fault of the disk.
// Method: each function with each kind of nonsense; what is on the disk is compared.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type Db,
  type DbOptions,
  destroy,
  dumpFile,
  hasDatabase,
  InlineExecutor,
  open,
  type RangeRead,
  repairDirectory,
  repairInEnvironment,
  restoreBackup,
  restoreInEnvironment,
  verifyDirectory,
  verifyInEnvironment,
} from '../../src/engine/index.ts'
import { loadHasher } from '../../src/hash.ts'
import { open as openAnywhere } from '../../src/index.ts'
import { seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const WRONG = { code: 'KV_INVALID_ARGUMENT', outcome: 'rejected' }
const KEY = new Uint8Array([1])
const COLD = '/cold'

async function subject(coldDirectory?: string) {
  const clock = new SimClock()
  const disk = new MemoryFileSystem()
  const options: DbOptions = coldDirectory === undefined ? {} : { coldDirectory }
  const db = await openEngine(disk, { clock, options })
  await drive(clock, db.put('before', 'x'))
  await drive(clock, db.backup('/backups'))
  const hasher = await loadHasher()
  const environment = () => {
    const executor = new InlineExecutor({ fileSystem: disk, hasher, clock })
    return { fileSystem: disk, executor, clock, random: seededRandom(1) }
  }
  return { db, clock, disk, environment }
}

type Calls = ReadonlyArray<readonly [string, (options: never) => unknown]>

/** Every function that takes options. */
function callsOf(db: Db, environment: Awaited<ReturnType<typeof subject>>['environment']): Calls {
  const put = { type: 'put', key: KEY, value: KEY } as const
  return [
    ['get', options => db.get('a', options)],
    ['getSync', options => db.getSync('a', options)],
    ['getMany', options => db.getMany(['a'], options)],
    ['has', options => db.has('a', options)],
    ['put', options => db.put('a', 'b', options)],
    ['putBytes', options => db.putBytes(KEY, KEY, options)],
    ['delete', options => db.delete('a', options)],
    ['deleteRange', options => db.deleteRange({ gte: 'a' }, options)],
    ['batch', options => db.batch([{ type: 'del', key: 'a' }], options)],
    ['write', options => db.write([put], options)],
    ['write of nothing', options => db.write([], options)],
    ['commit', options => db.commit([put], options)],
    ['prepared', options => filled(db).commit(options)],
    ['entries', options => db.entries(options)],
    ['keys', options => db.keys(options)],
    ['values', options => db.values(options)],
    ['approximateSize', options => db.approximateSize(options)],
    ['compact', options => db.compact(options)],
    ['checkpoint', options => db.checkpoint('/copy', options)],
    ['backup', options => db.backup('/backups', options)],
    ['verify', options => db.verify(options)],
    ['changes', options => db.changes(options)],
    ['open', options => open('/nowhere/at/all', options)],
    ['verifyDirectory', options => verifyDirectory('/db', options)],
    ['verifyInEnvironment', options => verifyInEnvironment('/db', options, environment())],
    ['repairDirectory', options => repairDirectory('/db', options)],
    ['repairInEnvironment', options => repairInEnvironment('/db', options, environment())],
    ['restoreBackup', options => restoreBackup('/backups', '/new', options)],
    ['restoreInEnvironment', o => restoreInEnvironment('/backups', '/new', o, environment())],
    ['dumpFile', options => dumpFile('/db', async () => undefined, options)],
  ]
}

function filled(db: Db) {
  const prepared = db.prepareWrite(1)
  prepared.put(KEY, KEY, 0)
  return prepared
}

function filesOf(disk: MemoryFileSystem): Map<string, Uint8Array> {
  return new Map(disk.paths().map(path => [path, disk.peek(path).slice()]))
}

async function refused(clock: SimClock, name: string, call: () => unknown, text = /./) {
  const answer = (async () => await call())()
  await assert.rejects(drive(clock, answer), { ...WRONG, message: text }, name)
}

describe('options', () => {
  test('that are misspelt are refused, and what was meant is told', async () => {
    const { db, clock, disk, environment } = await subject()
    const before = filesOf(disk)
    for (const [name, call] of callsOf(db, environment)) {
      const text = /has 'singal', which is none of [\w, ]+(; did you mean 'signal'\?)?$/
      await refused(clock, name, () => call({ singal: 1 } as never), text)
      await refused(clock, name, () => call(null as never))
    }
    const meant = /did you mean 'keep'\?$/
    await refused(clock, 'backup', () => db.backup('/backups', { kep: 7 } as never), meant)
    const operation = { type: 'put', key: 'a', value: 'b', ttl: 5 } as never
    await refused(clock, 'operation', () => db.batch([operation]), /did you mean 'ttlMs'|none of/)
    const deletion = { type: 'del', key: 'a', ttlMs: 5, keys: 1 } as never
    await refused(clock, 'deletion', () => db.batch([deletion]), /has 'keys'/)
    assert.deepEqual(filesOf(disk), before)
    await drive(clock, db.close())
  })

  test('that only another call takes are refused', async () => {
    const { db, clock, disk, environment } = await subject()
    const before = filesOf(disk)
    const calls = new Map(callsOf(db, environment))
    const others: Record<string, readonly string[]> = {
      ttlMs: ['delete', 'deleteRange', 'batch', 'write', 'get', 'putBytes'],
      logData: ['put', 'putBytes', 'delete', 'deleteRange', 'prepared', 'get'],
      consistency: ['write', 'commit', 'putBytes', 'getSync', 'changes', 'compact', 'verify'],
      durability: ['get', 'getMany', 'has', 'getSync', 'entries', 'keys', 'values', 'compact'],
      reverse: ['get', 'getMany', 'compact', 'approximateSize', 'deleteRange'],
      keep: ['checkpoint', 'compact', 'verify', 'restoreInEnvironment', 'verifyInEnvironment'],
      copy: ['backup', 'verify', 'restoreInEnvironment'],
      coldDirectoryLost: ['open', 'verify', 'restoreInEnvironment', 'dumpFile'],
      onProgress: ['changes', 'dumpFile', 'open', 'get', 'put'],
    }
    for (const [option, names] of Object.entries(others)) {
      for (const name of names) {
        const call = () => calls.get(name)!({ [option]: 1 } as never)
        await refused(clock, `${name} ${option}`, call, new RegExp(`has '${option}'`))
      }
    }
    assert.deepEqual(filesOf(disk), before)
    await drive(clock, db.close())
  })

  test('of a wrong kind are refused', async () => {
    const { db, clock, disk, environment } = await subject()
    const before = filesOf(disk)
    const opens: Record<string, readonly unknown[]> = {
      coldDirectory: [5, true, {}, [], '', 'a\0b', 'kv://host'],
      createIfMissing: ['no', 0, {}],
      errorIfExists: ['yes', 1],
      warmTables: [1, 'x'],
      logger: [1, 'x', {}, { info: () => undefined }, Map],
      onEvent: [1, {}, 'x'],
      onLogData: [1, {}, 'x'],
      memoryBudget: ['1', Symbol('1'), 1.5],
      purgeBound: ['1', Symbol('1'), 1n],
      durability: ['bogus', 1, {}],
      holdWalFrom: ['newest', -1, 1.5, {}],
    }
    for (const [name, values] of Object.entries(opens)) {
      for (const value of values) {
        const fresh = new MemoryFileSystem()
        const options = { [name]: value } as never
        await refused(clock, name, () => openEngine(fresh, { options }), new RegExp(name))
        assert.deepEqual(fresh.paths(), [], name)
      }
    }
    for (const value of [1, 'no', {}] as never[]) {
      await refused(clock, 'reverse', () => db.keys({ reverse: value }))
      await refused(clock, 'rewrite', () => db.compact({ rewrite: value }))
      await refused(clock, 'onLost', () => db.compact({ onLost: value }), /onLost/)
      await refused(clock, 'onProgress', () => db.verify({ onProgress: value }), /onProgress/)
      await refused(clock, 'copy', () => db.checkpoint('/copy', { copy: value }))
      await refused(clock, 'entries', () =>
        dumpFile('/db', async () => undefined, { entries: value }),
      )
    }
    for (const signal of [1, 'x', {}] as never[]) {
      const dump = () => dumpFile('/db', async () => undefined, { signal })
      await refused(clock, 'signal', dump, /signal/)
    }
    for (const backup of [0, -1, 1.5, '1', Symbol('1')] as never[]) {
      await refused(clock, 'backup', () =>
        restoreInEnvironment('/backups', '/new', { backup }, environment()),
      )
    }
    for (const listener of [undefined, null, 1, {}] as never[]) {
      await refused(clock, 'onEvent', () => db.onEvent(listener))
    }
    assert.deepEqual(filesOf(disk), before)
    await drive(clock, db.close())
  })
})

test('what only other stores have a use for is checked all the same', async () => {
  const { db, clock, disk, environment } = await subject()
  const before = filesOf(disk)
  const waiting = /^(get|getMany|has|put|delete|deleteRange|batch|entries|keys|values)$/
  const calls = callsOf(db, environment).filter(([name]) => waiting.test(name))
  const wrong: Record<string, readonly unknown[]> = {
    timeoutMs: ['x', 0, -1, Number.NaN, 2 ** 31, null, Symbol('x'), {}],
    consistency: ['bogus', 1, null, Symbol('x'), {}],
    signal: [1, null, {}, Symbol('x')],
    durability: ['bogus', null, Symbol('x')],
    snapshot: [null, {}, 1, Symbol('x')],
    order: ['bogus', null, Symbol('x')],
  }
  let count = 0
  for (const [name, call] of calls) {
    for (const [option, values] of Object.entries(wrong)) {
      for (const value of values) {
        await refused(clock, `${name} ${option}`, () => call({ [option]: value } as never))
        count++
      }
    }
  }
  assert.ok(count > 200)
  const { signal } = new AbortController()
  await refused(clock, 'getSync', () => db.getSync('a', { signal } as never), /signal/)
  for (const key of ['a', 1, null, Symbol('x')] as never[]) {
    await refused(clock, 'read', () => db.read(key), /key must be a Uint8Array/)
  }
  const most = Symbol('x') as never
  await refused(clock, 'nextBatch', () => db.keys().nextBatch(most), /countMax/)
  for (const keep of [null, most]) {
    await refused(clock, 'keep', () => db.backup('/backups', { keep } as never), /keep/)
  }
  for (const option of ['durability', 'memoryBudget', 'logger', 'warmTables', 'compression']) {
    const options = { [option]: null } as never
    await refused(clock, option, () => openEngine(new MemoryFileSystem(), { options }), /null/)
  }
  assert.deepEqual(filesOf(disk), before)
  await drive(clock, db.close())
})

test('what is no path is refused by all that take one, and nothing is made', async () => {
  const { db, clock, disk, environment } = await subject()
  const before = filesOf(disk)
  const calls: Record<string, (path: never) => unknown> = {
    open,
    'open of the package': path => openAnywhere(path),
    destroy,
    verifyDirectory,
    repairDirectory,
    'source of restore': path => restoreBackup(path, '/new'),
    'target of restore': path => restoreBackup('/backups', path),
    'target of a restore in memory': path =>
      restoreInEnvironment('/backups', path, {}, environment()),
    dumpFile: path => dumpFile(path, async () => undefined),
    hasDatabase: path => hasDatabase(path, disk),
    checkpoint: path => db.checkpoint(path),
    backup: path => db.backup(path),
    coldDirectory: path => repairDirectory('/db', { coldDirectory: path }),
  }
  const junk = [5, null, true, {}, [], '', 'a\0b', Symbol('x'), new URL('file:///db')]
  for (const [name, call] of Object.entries(calls)) {
    for (const path of junk as never[]) await refused(clock, name, () => call(path))
    if (name !== 'coldDirectory') await refused(clock, name, () => call(undefined as never))
    if (name === 'open of the package') continue
    await refused(clock, name, () => call('kv://127.0.0.1:1' as never), /open or connect/)
  }
  assert.deepEqual(filesOf(disk), before)
  await drive(clock, db.close())
})

test('calls without their arguments are refused', async () => {
  const { db, clock } = await subject()
  const range: RangeRead = { reverse: false, keysOnly: false, countMax: 1, bytesMax: 1 }
  const calls: Record<string, (...args: never[]) => unknown> = {
    get: key => db.get(key),
    put: (key, value) => db.put(key, value),
    delete: key => db.delete(key),
    deleteRange: bounds => db.deleteRange(bounds),
    holdWal: sequence => db.holdWal(sequence),
    setPurgeBound: sequence => db.setPurgeBound(sequence),
    prepareWrite: count => db.prepareWrite(count),
    readRange: what => db.readRange(what),
    'readRange of nothing': () => db.readRange({} as never),
    'readRange of none': () => db.readRange({ ...range, countMax: 0 }),
    'readRange from a text': () => db.readRange({ ...range, gte: 'a' as never }),
    'readRange to null': () => db.readRange({ ...range, lt: null as never }),
    leap: what => db.leap(what),
    'leap of nothing': () => db.leap({} as never),
    'leap to nowhere': () => db.leap({ from: KEY } as never),
    'leap to a text': () => db.leap({ from: KEY, end: 'b', arrive: () => 'stop' } as never),
    restoreBackup: (path, target) => restoreBackup(path, target),
    dumpFile: (path, sink) => dumpFile(path, sink),
    'dumpFile without a sink': () => dumpFile('/db', undefined as never),
  }
  for (const [name, call] of Object.entries(calls)) {
    await refused(clock, name, call as () => unknown)
  }
  await drive(clock, db.close())
})

test('holes in a list are no keys and no operations', async () => {
  const { db, clock } = await subject()
  const keys: string[] = ['a']
  keys[2] = 'b'
  const operations: { type: 'put'; key: string; value: string }[] = []
  operations[1] = { type: 'put', key: 'a', value: 'b' }
  await refused(clock, 'getMany', () => db.getMany(keys))
  await refused(clock, 'batch', () => db.batch(operations))
  assert.equal(await drive(clock, db.get('a')), undefined)
  await drive(clock, db.close())
})

test('copies are not made among the tables of the second directory', async () => {
  const { db, clock, disk } = await subject(COLD)
  const before = filesOf(disk)
  for (const path of [`${COLD}/copy`, `${COLD}/deep/copy`]) {
    await refused(clock, path, () => db.checkpoint(path), /cold directory/)
    await refused(clock, path, () => db.backup(path), /cold directory/)
  }
  assert.deepEqual(filesOf(disk), before)
  await drive(clock, db.close())
})

test('the address of a server is no directory', async () => {
  for (const address of [
    '127.0.0.1:7700',
    'kv:7700',
    'node1:7700,node2:7700',
    '[::1]:7700',
    'localhost:1',
  ]) {
    await assert.rejects(openAnywhere(address), { ...WRONG, message: /did you mean kv:\/\// })
  }
})
