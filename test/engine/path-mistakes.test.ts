// Goal: whoever gives a path that cannot be used is told what is wrong with it and what to do, by
// every call that takes one, and never to check a disk that is all right.
// Method: a real directory with everything that can stand in the way, given to every call, and a
// database of which each file in turn is replaced by what is none.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { buildSync, type Format } from 'esbuild'
import { systemClock } from '../../src/clock.ts'
import {
  destroy,
  dumpFile,
  type Finding,
  InlineExecutor,
  nodeFileSystem,
  open,
  openInEnvironment,
  repairDirectory,
  repairInEnvironment,
  restoreInEnvironment,
  verifyInEnvironment,
} from '../../src/engine/index.ts'
import { adviceFor } from '../../src/engine/io-failure.ts'
import { KvError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { systemRandom } from '../../src/random.ts'
import { projectUrl } from '../support/project-root.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const hasher = await loadHasher()

/** What is in the way, and what the message must say of it. */
const PLACES = {
  'file/in': /is a file|path of a directory|exists already|check the path/,
  file: /is a file|path of a directory|exists already|check the path|a file stands|no file of a/,
  'loop/in': /links lead in a circle/,
  loop: /links lead in a circle/,
  [`${'n'.repeat(300)}`]: /choose a shorter path/,
} as const

test('a program in a bundle without the files of threads is told to leave duramen out', async t => {
  const root = temporaryDirectory(t)
  const { open: inCommonJs } = createRequire(root)(bundle(root, 'cjs')) as Engine
  await assert.rejects(inCommonJs(join(root, 'none')), (error: KvError) => {
    return error.code === 'KV_NOT_FOUND' && /leave duramen out of the bundle/.test(error.message)
  })
  assert.deepEqual(readdirSync(root), ['engine.cjs'], 'nothing was made')
  const { open: inModule } = (await import(pathToFileURL(bundle(root, 'esm')).href)) as Engine
  const db = await inModule(join(root, 'some'))
  await db.put('key', 'value')
  await assert.rejects(db.verify(), (error: KvError) => {
    return error.code === 'KV_IO' && /leave it out of a bundle/.test(error.message)
  })
  await db.close()
})

test('who has a thread without memory, or no thread at all, is not sent to the disk', () => {
  for (const code of ['ERR_WORKER_OUT_OF_MEMORY', 'ERR_WORKER_INIT_FAILED', 'ERR_ACCESS_DENIED']) {
    assert.doesNotMatch(adviceFor(code), /disk/, code)
  }
})

test('open keeps to its directories when the current directory changes', async t => {
  const root = prepare(t)
  const before = process.cwd()
  process.chdir(root)
  const opening = open('relative', { coldDirectory: 'cold' })
  // Before anybody else runs.
  process.chdir(before)
  const db = await opening
  await db.put('key', 'value')
  await db.compact()
  assert.ok(readdirSync(join(root, 'cold')).some(name => name.endsWith('.sst')))
  await db.close()
  assert.ok(readdirSync(join(root, 'relative')).includes('CURRENT'))
})

describe('a path that cannot be used', () => {
  const calls = {
    open: (path: string) => open(path),
    'open of an existing one': (path: string) => open(path, { createIfMissing: false }),
    destroy,
    verifyDirectory: (path: string) => verifyInEnvironment(path, {}, world()),
    repairDirectory: (path: string) => repairInEnvironment(path, {}, world()),
    dumpFile: (path: string) => dumpFile(path, async () => undefined),
  }
  for (const [name, call] of Object.entries(calls)) {
    test(`${name} says what is wrong`, async t => {
      const root = prepare(t)
      for (const [place, text] of Object.entries(PLACES))
        await expectAdvice(call, root, place, text)
    })
  }

  test('as a second directory, or where copies come from or go to', async t => {
    const root = prepare(t)
    const db = await openInEnvironment(join(root, 'db'), {}, world())
    await db.put('key', 'value')
    const backups = join(root, 'backups')
    await db.backup(backups)
    let count = 0
    const another = () => join(root, `new ${count++}`)
    const copies = {
      coldDirectory: (path: string) =>
        openInEnvironment(another(), { coldDirectory: path }, world()),
      checkpoint: (path: string) => db.checkpoint(path),
      backup: (path: string) => db.backup(path),
      restore: (path: string) => restoreInEnvironment(backups, path, {}, world()),
      'restore of a backup': (path: string) => restoreInEnvironment(path, another(), {}, world()),
    }
    for (const call of Object.values(copies)) {
      for (const [place, text] of Object.entries(PLACES))
        await expectAdvice(call, root, place, text)
    }
    await db.close()
  })

  test('entries of a directory', async t => {
    const path = prepare(t)
    const advice = { code: 'KV_INVALID_ARGUMENT', message: /is a directory: .* by its path/ }
    await assert.rejects(
      dumpFile(path, async () => undefined, { entries: true }),
      advice,
    )
  })

  test('an error of the sink is not taken for one of the file', async t => {
    const root = prepare(t)
    await (await open(join(root, 'db'))).close()
    const broken = Object.assign(new Error('EPIPE: broken pipe'), { code: 'EPIPE' })
    const sink = () => Promise.reject(broken)
    await assert.rejects(dumpFile(join(root, 'db'), sink), error => error === broken)
  })

  test('a directory without a database, and a second one that is not there', async t => {
    const root = prepare(t)
    mkdirSync(join(root, 'empty'))
    const nothing = { code: 'KV_NOT_FOUND', message: /empty holds no file of a database/ }
    await assert.rejects(
      dumpFile(join(root, 'empty'), async () => undefined),
      nothing,
    )
    await (await open(join(root, 'db'))).close()
    const missing = { code: 'KV_NOT_FOUND', message: /there is no directory .*none/ }
    const coldDirectory = join(root, 'none')
    await assert.rejects(repairDirectory(join(root, 'db'), { coldDirectory }), missing)
  })

  test('CURRENT that is a directory', async t => {
    const root = prepare(t)
    mkdirSync(join(root, 'odd', 'CURRENT'), { recursive: true })
    const advice = { code: 'KV_IO', message: /EISDIR.*a directory stands where a file should be/ }
    await assert.rejects(destroy(join(root, 'odd')), advice)
  })
})

describe('in place of a file of a database', { skip: process.platform === 'win32' }, () => {
  /** What makes it at a path, by what it is called in messages. */
  const strangers: Record<string, (path: string) => void | Promise<void>> = {
    'a FIFO': path => void execFileSync('mkfifo', [path]),
    'a socket': makeSocket,
    'a device': path => symlinkSync('/dev/zero', path),
    'a directory': path => void mkdirSync(path),
  }
  const places: Record<string, readonly RegExp[]> = {
    'a FIFO': [/^CURRENT$/, /^MANIFEST/, /\.sst$/, /\.wal$/],
    'a socket': [/^MANIFEST/],
    'a device': [/\.sst$/],
    'a directory': [/^CURRENT$/, /\.wal$/],
  }
  for (const [found, make] of Object.entries(strangers)) {
    test(`${found} is found, and put aside by a repair`, async t => {
      const root = prepare(t)
      await makeDatabase(join(root, 'db'))
      for (const pattern of places[found]!) {
        const directory = join(root, `${found} ${pattern.source.replaceAll(/\W/g, '')}`)
        cpSync(join(root, 'db'), directory, { recursive: true })
        const name = readdirSync(directory).find(each => pattern.test(each))!
        rmSync(join(directory, name))
        await make(join(directory, name))
        await expectRepair(directory, name, found)
      }
    })

    test(`${found} is not waited for as a LOCK`, async t => {
      const root = prepare(t)
      await make(join(root, 'LOCK'))
      const message = new RegExp(`holds ${found}.* named LOCK.*delete .*LOCK and try again`)
      await assert.rejects(openInEnvironment(root, {}, world()), { code: 'KV_LOCKED', message })
    })
  }

  test('what is no file of one by its name is not called damaged', async t => {
    const path = join(temporaryDirectory(t), 'pipe')
    execFileSync('mkfifo', [path])
    const message = /is no file of a database by its name/
    await assert.rejects(
      dumpFile(path, async () => undefined),
      { code: 'KV_INVALID_ARGUMENT', message },
    )
  })
})

/** On the real disk, without threads, whose start takes longer than all the rest. */
function world() {
  const fileSystem = nodeFileSystem()
  const clock = systemClock()
  const executor = new InlineExecutor({ fileSystem, hasher, clock })
  return { fileSystem, executor, clock, random: systemRandom() }
}

/** With a table, and a log that has an entry. */
async function makeDatabase(directory: string): Promise<void> {
  const db = await openInEnvironment(directory, { durability: 'none' }, world())
  await db.put('key', 'value')
  await db.compact()
  await db.put('late', 'in the log')
  await db.close()
}

async function expectRepair(directory: string, name: string, found: string): Promise<void> {
  const advice = {
    code: 'KV_CORRUPTION',
    path: join(directory, name),
    message: new RegExp(`move it away \\(expected a file, found ${found}`),
  }
  await assert.rejects(openInEnvironment(directory, {}, world()), advice)
  const items: unknown[] = []
  await dumpFile(directory, async item => void items.push(item))
  assert.ok(JSON.stringify(items).includes(found), 'the dump tells')
  const isTold = ({ path, actual }: Finding) =>
    path === join(directory, name) && actual?.startsWith(found) === true
  const { ok, findings } = await verifyInEnvironment(directory, {}, world())
  assert.ok(!ok && findings.some(isTold), JSON.stringify(findings))
  const repaired = await repairInEnvironment(directory, {}, world())
  assert.ok(repaired.findings.some(isTold), JSON.stringify(repaired.findings))
  assert.ok(repaired.movedFiles.includes(name), `${name} was put aside`)
  const db = await openInEnvironment(directory, {}, world())
  const kept = [db.getSync('key') === undefined, db.getSync('late') === undefined]
  assert.deepEqual(kept, [name.endsWith('.sst'), name.endsWith('.wal')], 'the rest is there')
  await db.close()
}

type Engine = typeof import('../../src/engine/index.ts')

/** The engine in one file, as a bundler of programs makes it. Returns its path. */
function bundle(root: string, format: Format): string {
  const outfile = join(root, `engine.${format === 'cjs' ? 'cjs' : 'mjs'}`)
  const entryPoints = [fileURLToPath(projectUrl('src/engine/index.ts'))]
  const target = 'node20.19'
  const logLevel = 'error' // It warns that the place is unknown.
  buildSync({ entryPoints, outfile, format, bundle: true, platform: 'node', target, logLevel })
  return outfile
}

/** Under another name at first, as the server takes its own away again. */
async function makeSocket(path: string): Promise<void> {
  const server = createServer()
  await new Promise<void>(resolve => void server.listen(`${path}-`, resolve))
  renameSync(`${path}-`, path)
  await new Promise(resolve => void server.close(resolve))
}

function prepare(t: Parameters<typeof temporaryDirectory>[0]): string {
  const root = temporaryDirectory(t)
  writeFileSync(join(root, 'file'), 'no database')
  symlinkSync(join(root, 'loop'), join(root, 'loop'))
  return root
}

async function expectAdvice(
  call: (path: string) => Promise<unknown>,
  root: string,
  place: string,
  text: RegExp,
): Promise<void> {
  await assert.rejects(call(join(root, place)), (error: unknown) => {
    assert.ok(error instanceof KvError, String(error))
    assert.match(error.message, text, place)
    assert.doesNotMatch(error.message, /check the disk/)
    return true
  })
}
