// Goal: a directory has one holder at a time, whatever died, was recycled or raced before, and the
// one who is refused learns who holds it and what to do.
// Method: real child processes that are killed with SIGKILL and that race; LOCK files as processes
// of other boots, hosts and pids would have left them. The suite for all file systems has the rest.
import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs, {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { hostname } from 'node:os'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { describe, type TestContext, test } from 'node:test'
import { lockDirectorySync } from '../../src/engine/directory-lock.ts'
import { LockedError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { deadHolder, lockContent } from '../support/lock-file.ts'
import { moduleArguments } from '../support/project-root.ts'
import { printSeed } from '../support/seed.ts'
import { systemError } from '../support/system-error.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const CHILD = moduleArguments('test/support/lock-child.ts')
const LINUX_ONLY = { skip: process.platform !== 'linux' }

type Child = ChildProcessByStdio<Writable, Readable, null>

function spawnChild(context: TestContext, ...args: string[]): Child {
  const child = spawn(process.execPath, [...CHILD, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  context.after(() => child.kill('SIGKILL'))
  return child
}

/** Waits for the child's next line. */
async function lineOf(child: Child): Promise<string> {
  for await (const line of createInterface({ input: child.stdout })) return line
  return ''
}

function refusal(directory: string): string {
  let message = ''
  assert.throws(
    () => lockDirectorySync(directory),
    error => {
      assert.ok(error instanceof LockedError)
      message = error.message
      return true
    },
  )
  return message
}

/** Takes and releases the lock, and checks that nothing is left behind. */
function takeAndRelease(directory: string): void {
  lockDirectorySync(directory).releaseSync()
  assert.deepEqual(readdirSync(directory), [])
}

function leaveLock(context: TestContext, content: string): string {
  const directory = temporaryDirectory(context)
  writeFileSync(`${directory}/LOCK`, content)
  return directory
}

test('a LOCK that came along with a copy says so, and names the original', context => {
  const original = temporaryDirectory(context)
  const lock = lockDirectorySync(original)
  const copy = leaveLock(context, readFileSync(`${original}/LOCK`, 'utf8'))
  assert.match(refusal(copy), /is a copy of .*, which is open in process \d+ .*copy again/)
  assert.ok(refusal(copy).includes(realpathSync(original)))
  assert.match(refusal(original), / is open in process .*this very process/)
  lock.releaseSync()
})

/** From here on every file system is read-only, as far as opening files goes. */
function makeReadOnly(context: TestContext): void {
  const { openSync } = fs
  const readOnly: typeof openSync = (path, flags, mode) => {
    if (flags !== undefined && flags !== 'r') throw systemError('EROFS', 'open', String(path))
    return openSync(path, flags, mode)
  }
  fs.openSync = readOnly
  syncBuiltinESMExports()
  context.after(() => {
    fs.openSync = openSync
    syncBuiltinESMExports()
  })
}

/** From here on no file can be written to, as there is no room. */
function fillDisk(context: TestContext): void {
  const { writeFileSync: write } = fs
  fs.writeFileSync = path => {
    throw systemError('ENOSPC', 'write', String(path))
  }
  syncBuiltinESMExports()
  context.after(() => {
    fs.writeFileSync = write
    syncBuiltinESMExports()
  })
}

describe('a lock that is taken on a full disk', () => {
  test('locks, names its holder, and is released', context => {
    const directory = temporaryDirectory(context)
    fillDisk(context)
    const lock = lockDirectorySync(directory)
    assert.deepEqual(readdirSync(directory), ['LOCK'])
    // ext4 keeps no more than this beside the file's own record.
    assert.ok(readlinkSync(`${directory}/LOCK`).length < 60)
    lock.verifySync()
    const message = refusal(directory)
    assert.ok(message.startsWith(`${directory} is open in process ${process.pid} (`), message)
    assert.match(message, /on host .* \(this very process\) since 20/)
    lock.releaseSync()
    takeAndRelease(directory)
  })

  test('notices that it is gone', context => {
    const directory = temporaryDirectory(context)
    fillDisk(context)
    const lock = lockDirectorySync(directory)
    rmSync(`${directory}/LOCK`)
    assert.throws(() => lock.verifySync(), /was removed or replaced/)
    lock.releaseSync()
  })

  test('is taken over from the dead only', LINUX_ONLY, context => {
    const directory = temporaryDirectory(context)
    const path = `${directory}/LOCK`
    lockDirectorySync(directory)
    const content = readFileSync(path, 'utf8')
    rmSync(path)
    fillDisk(context)
    lockDirectorySync(directory)
    const [id, pid, startTime, boot, host] = readlinkSync(path).split('.')
    assert.equal(JSON.parse(content).startTime, startTime)
    const leave = (...parts: (string | undefined)[]) => {
      rmSync(path, { force: true })
      symlinkSync(parts.join('.'), path)
    }
    for (const stale of [
      [id, pid, '12345', boot, host],
      [id, 2 ** 30, startTime, boot, host],
      [id, pid, startTime, '00000000', host],
    ]) {
      leave(...stale.map(String))
      takeAndRelease(directory)
    }
    leave(id, pid, startTime, boot, '00000000')
    assert.match(refusal(directory), /on another host whose processes cannot be seen/)
    for (const foreign of ['elsewhere', `${id}.${pid}`]) {
      leave(foreign)
      assert.match(refusal(directory), /did not write.*delete .*LOCK and try again$/)
    }
    assert.deepEqual(readdirSync(directory), ['LOCK'], 'no claim is left')
  })
})

describe('a directory lock', () => {
  test('is refused on a read-only file system by who holds it, else by the system', context => {
    const free = leaveLock(context, deadHolder())
    const held = temporaryDirectory(context)
    const lock = lockDirectorySync(held)
    makeReadOnly(context)
    assert.match(refusal(held), /this very process/)
    assert.throws(() => lockDirectorySync(free), { code: 'EROFS' })
    lock.releaseSync()
  })

  test('names its holder, and goes with its process', async context => {
    const directory = temporaryDirectory(context)
    const child = spawnChild(context, 'hold', directory)
    assert.equal(await lineOf(child), 'locked')
    const message = refusal(directory)
    const program = basename(CHILD.at(-1)!)
    assert.ok(message.startsWith(`${directory} is open in process ${child.pid} (${program})`))
    assert.ok(message.includes(` on host ${hostname()} since 20`), message)
    assert.match(message, /close it, or share the store through `kvd serve`$/)
    child.kill('SIGKILL')
    await once(child, 'exit')
    assert.deepEqual(readdirSync(directory), ['LOCK'], 'the dead process left it')
    takeAndRelease(directory)
  })

  test('is released by a process that ends in order', async context => {
    const directory = temporaryDirectory(context)
    const child = spawnChild(context, 'hold', directory)
    assert.equal(await lineOf(child), 'locked')
    child.stdin.end()
    await once(child, 'exit')
    assert.deepEqual(readdirSync(directory), [])
  })

  test('is not kept by a zombie', LINUX_ONLY, async context => {
    const directory = temporaryDirectory(context)
    // The shell becomes `sleep`, which never asks for the exit status of the child it inherits. A
    // background job would read from /dev/null and end at once, hence the detour of its input.
    const holder = [process.execPath, ...CHILD, 'hold', directory]
      .map(word => `'${word}'`)
      .join(' ')
    const parent = spawn('sh', ['-c', `exec 3<&0; ${holder} <&3 & exec sleep 60`], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    context.after(() => parent.kill('SIGKILL'))
    assert.equal(await lineOf(parent), 'locked')
    const { pid } = JSON.parse(readFileSync(`${directory}/LOCK`, 'utf8')) as { pid: number }
    process.kill(pid, 'SIGKILL')
    while (!readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')) {
      await new Promise(resolve => setImmediate(resolve))
    }
    takeAndRelease(directory)
  })

  test('is refused twice in one process', context => {
    const directory = temporaryDirectory(context)
    const lock = lockDirectorySync(directory)
    assert.match(refusal(directory), /this very process/)
    assert.match(refusal(directory), /close it/)
    lock.releaseSync()
    takeAndRelease(directory)
  })

  test('of a recycled pid is taken over', LINUX_ONLY, context => {
    takeAndRelease(leaveLock(context, lockContent({ startTime: '12345' })))
    takeAndRelease(leaveLock(context, lockContent({ pid: 1, startTime: '12345' })))
  })

  test('of a live process is respected, also one that is not ours', LINUX_ONLY, context => {
    assert.match(refusal(leaveLock(context, lockContent())), /this very process/)
    assert.match(refusal(leaveLock(context, lockContent({ pid: 1 }))), /process 1 \(x\)/)
    assert.match(refusal(leaveLock(context, lockContent({ pid: process.ppid }))), /is open in/)
  })

  test('of an earlier boot is taken over', LINUX_ONLY, context => {
    takeAndRelease(leaveLock(context, lockContent({ bootId: 'another' })))
  })

  test('without start times goes by the pid alone', context => {
    assert.match(refusal(leaveLock(context, lockContent({ startTime: '' }))), /is open in/)
    takeAndRelease(leaveLock(context, lockContent({ pid: 2 ** 30, startTime: '' })))
  })

  test('of another host is refused, with what to do', context => {
    const directory = leaveLock(
      context,
      lockContent({ host: 'elsewhere', pid: 2 ** 30, startTime: '1' }),
    )
    const message = refusal(directory)
    assert.ok(message.includes('on host elsewhere since 20'), message)
    assert.ok(message.endsWith(`delete ${directory}/LOCK and try again`), message)
    rmSync(`${directory}/LOCK`)
    takeAndRelease(directory)
  })

  test('that cannot be read is refused, with what to do', context => {
    for (const content of [
      '',
      '\0\0\0',
      '{',
      '[]',
      'null',
      '{"pid":1}',
      lockContent().slice(0, 40),
    ]) {
      const directory = leaveLock(context, content)
      assert.match(refusal(directory), /did not write.*delete .*LOCK and try again$/)
      assert.equal(readFileSync(`${directory}/LOCK`, 'utf8'), content)
      assert.deepEqual(readdirSync(directory), ['LOCK'], 'no claim is left')
    }
  })

  test('knows its LOCK without a file descriptor left', LINUX_ONLY, context => {
    const directory = temporaryDirectory(context)
    const limited = 'ulimit -n 200 && exec "$0" "$@"'
    const command = [process.execPath, ...CHILD, 'starve', directory]
    const child = spawnSync('sh', ['-c', limited, ...command], { encoding: 'utf8' })
    assert.equal(child.stdout, 'held KV_LOCKED left\n', child.stderr)
  })

  test('notices that its directory is gone', context => {
    const directory = `${temporaryDirectory(context)}/inner`
    mkdirSync(directory)
    const lock = lockDirectorySync(directory)
    rmSync(directory, { recursive: true })
    assert.throws(() => lock.verifySync(), /was removed or replaced/)
    lock.releaseSync()
    mkdirSync(directory)
    takeAndRelease(directory)
  })
})

describe('openers that died half-way', () => {
  test('leave nothing behind and stop nobody', context => {
    const directory = leaveLock(context, deadHolder())
    writeFileSync(`${directory}/LOCK-00.claim`, deadHolder())
    writeFileSync(`${directory}/LOCK-01.tmp`, '{"half')
    writeFileSync(`${directory}/LOCK-02.tmp`, '')
    takeAndRelease(directory)
  })

  test('that live stop a takeover, but not the taking of a free directory', context => {
    const directory = leaveLock(context, deadHolder())
    // A claim with the lowest of all ids goes first.
    writeFileSync(`${directory}/LOCK-00.claim`, lockContent({ program: 'rival' }))
    assert.match(refusal(directory), /is being opened by process \d+ \(rival\)/)
    assert.equal(readFileSync(`${directory}/LOCK`, 'utf8'), deadHolder())
    rmSync(`${directory}/LOCK`)
    const lock = lockDirectorySync(directory)
    assert.deepEqual(readdirSync(directory), ['LOCK', 'LOCK-00.claim'])
    lock.releaseSync()
  })
})

test('of racing openers one takes a stale lock over, even if some are killed', async context => {
  const random = seededRandom(printSeed(context))
  const directory = leaveLock(context, deadHolder())
  const racers = [1, 2, 3].map(() => spawnChild(context, 'race', directory, '40'))
  const victim = spawnChild(context, 'race', directory, '1000000')
  const exits = racers.map(racer => once(racer, 'exit'))
  await Promise.all([...racers, victim].map(lineOf))
  for (const racer of [...racers, victim]) racer.stdin.end()
  // At some moment of the race, most likely in the middle of a takeover.
  for (let turns = random.below(2000); turns > 0; turns--) {
    await new Promise(resolve => setImmediate(resolve))
  }
  victim.kill('SIGKILL')
  for (const [code] of await Promise.all(exits)) assert.equal(code, 0)
  rmSync(`${directory}/alone`, { force: true })
  for (const name of readdirSync(directory)) {
    if (name.startsWith('abandoned-')) rmSync(`${directory}/${name}`)
  }
  takeAndRelease(directory)
})
