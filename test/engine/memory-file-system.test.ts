// Goal: the simulated disk is as harsh as file-system.ts allows, and no harsher: a crash may take
// what no sync covered, in part and in any order, and never what one covered.
// Method: the conformance suite that the real disk passes; then crashes after scripted and random
// calls, whose outcomes are held against the set of allowed ones, each of which must occur.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { systemErrorCode } from '../../src/engine/file-system.ts'
import { seededRandom } from '../../src/random.ts'
import { fileSystemSuite } from '../support/file-system-suite.ts'
import { type CallKind, MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'

fileSystemSuite('memory file system', () => {
  const fileSystem = new MemoryFileSystem()
  fileSystem.makeDirectorySync('/root')
  return { fileSystem, root: '/root' }
})

fileSystemSuite('memory file system in random order, in later turns', () => {
  const fileSystem = new MemoryFileSystem({ random: seededRandom(7), defer: setImmediate })
  fileSystem.makeDirectorySync('root')
  return { fileSystem, root: 'root' }
})

const NOTHING = { keep: 'nothing' } as const
const ALL = { keep: 'all' } as const
const RANDOM = { keep: 'random' } as const

function ofText(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function put(disk: MemoryFileSystem, path: string, text: string): void {
  const file = disk.createSync(path)
  file.writeSync(ofText(text), 0, text.length, 0)
  file.syncSync()
  file.closeSync()
}

function byText(a: string, b: string): number {
  return a < b ? -1 : 1
}

/** The disk as text, such as `/a=1 /b=2`. */
function describeDisk(disk: MemoryFileSystem): string {
  const decoder = new TextDecoder()
  const files = disk.paths().sort(byText)
  return files.map(path => `${path}=${decoder.decode(disk.peek(path))}`).join(' ')
}

/** Every state that 300 random power losses leave. */
function outcomes(disk: MemoryFileSystem, seed = 1): Set<string> {
  const random = seededRandom(seed)
  const found = new Set<string>()
  for (let round = 0; round < 300; round++) found.add(describeDisk(disk.crashClone(random, RANDOM)))
  return found
}

describe('names after a power loss', () => {
  test('a synced file is lost with its unsynced name', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', '1')
    assert.equal(describeDisk(disk.crashClone(seededRandom(1), NOTHING)), '')
    assert.deepEqual(outcomes(disk), new Set(['', '/a=1']))
    disk.syncDirectorySync('/')
    assert.deepEqual(outcomes(disk), new Set(['/a=1']))
  })

  test('a rename happens or does not, and never loses both names', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', '1')
    put(disk, '/b', '2')
    disk.syncDirectorySync('/')
    disk.renameSync('/a', '/b')
    assert.deepEqual(outcomes(disk), new Set(['/a=1 /b=2', '/b=1']))
    disk.syncDirectorySync('/')
    assert.deepEqual(outcomes(disk), new Set(['/b=1']))
  })

  test('operations on different names survive independently', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/old', '1')
    disk.syncDirectorySync('/')
    put(disk, '/new', '2')
    disk.removeSync('/old')
    const states = ['/old=1', '/new=2', '/new=2 /old=1', '']
    assert.deepEqual(outcomes(disk), new Set(states))
  })

  test('operations on one name survive in order', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', '1')
    disk.syncDirectorySync('/')
    disk.renameSync('/a', '/b')
    put(disk, '/a', '2')
    assert.deepEqual(outcomes(disk), new Set(['/a=1', '/b=1', '/a=2 /b=1']))
  })

  test('a rename between directories happens in both or in none', () => {
    const disk = new MemoryFileSystem()
    disk.makeDirectorySync('/x')
    disk.makeDirectorySync('/y')
    put(disk, '/x/a', '1')
    disk.syncDirectorySync('/x')
    disk.renameSync('/x/a', '/y/a')
    assert.deepEqual(outcomes(disk), new Set(['/x/a=1', '/y/a=1']))
    disk.syncDirectorySync('/y')
    assert.deepEqual(outcomes(disk), new Set(['/y/a=1']))
  })

  test('a synced rename does not bring back what it moved', () => {
    const disk = new MemoryFileSystem()
    disk.makeDirectorySync('/x')
    disk.makeDirectorySync('/y')
    put(disk, '/x/a', '1')
    disk.renameSync('/x/a', '/y/a')
    disk.syncDirectorySync('/y')
    assert.deepEqual(outcomes(disk), new Set(['/y/a=1']))
  })

  test('a made directory is there, with what it holds as far as that was synced', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/before', '0')
    disk.makeDirectorySync('/x/y')
    put(disk, '/x/y/a', '1')
    const survivor = disk.crashClone(seededRandom(1), NOTHING)
    assert.deepEqual(survivor.listSync('/x/y'), [])
    disk.syncDirectorySync('/x/y')
    assert.match(describeDisk(disk.crashClone(seededRandom(1), NOTHING)), /\/x\/y\/a=1/)
  })

  test('a lock does not outlive a crash, but its file may', () => {
    const disk = new MemoryFileSystem()
    disk.lockSync('/')
    disk.syncDirectorySync('/')
    assert.throws(() => disk.lockSync('/'))
    const survivor = disk.crashClone(seededRandom(1), NOTHING)
    assert.deepEqual(survivor.listSync('/'), ['LOCK'])
    survivor.lockSync('/')
    assert.throws(() => survivor.lockSync('/'))
    disk.processCrashClone().lockSync('/')
  })

  test('a sync of a directory under way covers what was done before it', async () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', '1')
    const sync = disk.syncDirectory('/')
    put(disk, '/b', '2')
    await sync
    assert.deepEqual(outcomes(disk), new Set(['/a=1', '/a=1 /b=2']))
    const create = disk.create('/c')
    const rename = disk.rename('/a', '/d')
    assert.equal(describeDisk(disk), '/a=1 /b=2', 'neither has finished')
    ;(await create).closeSync()
    await rename
    assert.equal(describeDisk(disk), '/b=2 /c= /d=1')
  })
})

describe('bytes after a power loss', () => {
  /** A disk with a durable file `/a` of `size` bytes of 1. */
  function diskWithFile(size: number) {
    const disk = new MemoryFileSystem()
    const file = disk.createSync('/a')
    file.writeSync(new Uint8Array(size).fill(1), 0, size, 0)
    file.syncSync()
    disk.syncDirectorySync('/')
    return { disk, file }
  }

  test('synced bytes survive, unsynced ones as the mode says', () => {
    const { disk, file } = diskWithFile(3)
    file.writeSync(ofText('xyz'), 0, 3, 2)
    const random = seededRandom(1)
    assert.equal(describeDisk(disk.crashClone(random, NOTHING)), '/a=\x01\x01\x01')
    assert.equal(describeDisk(disk.crashClone(random, ALL)), '/a=\x01\x01xyz')
    file.syncSync()
    file.writeSync(ofText('!'), 0, 1, 0)
    assert.equal(describeDisk(disk.crashClone(random, NOTHING)), '/a=\x01\x01xyz')
  })

  test('probability 0 without tearing is nothing, probability 1 is all', () => {
    const { disk, file } = diskWithFile(3)
    for (const text of 'abcdef') file.writeSync(ofText(text), 0, 1, text.charCodeAt(0) - 96)
    const random = seededRandom(1)
    const none = disk.crashClone(random, { keep: 'random', probability: 0, tear: false })
    assert.equal(describeDisk(none), '/a=\x01\x01\x01')
    const all = disk.crashClone(random, { keep: 'random', probability: 1 })
    assert.equal(describeDisk(all), '/a=\x01abcdef')
  })

  test('any subset of small writes survives', () => {
    const { disk, file } = diskWithFile(3)
    for (const [at, text] of [...'xyz'].entries()) file.writeSync(ofText(text), 0, 1, at)
    assert.equal(outcomes(disk).size, 8)
  })

  test('a torn write leaves whole units, old bytes between, and holes of zeros or garbage', () => {
    const { disk, file } = diskWithFile(10_000)
    file.writeSync(new Uint8Array(10_240).fill(2), 0, 10_240, 5000)
    const random = seededRandom(3)
    const seen = new Set<string>()
    for (let round = 0; round < 2000; round++) {
      const bytes = disk.crashClone(random, { keep: 'random', probability: 0.2 }).peek('/a')
      assert.ok(bytes.length >= 10_000 && bytes.length <= 15_240)
      assert.ok(
        bytes.subarray(0, 5000).every(byte => byte === 1),
        'it was not written to',
      )
      for (let start = 5000; start < bytes.length; ) {
        const stop = Math.min(bytes.length, (Math.floor(start / 512) + 1) * 512)
        for (const [from, to] of [
          [start, Math.min(stop, 10_000)],
          [Math.max(start, 10_000), stop],
        ] as const) {
          const unit = bytes.subarray(from, to)
          if (unit.length === 0) continue
          const same = unit.every(byte => byte === unit[0])
          const what = same ? `${unit[0]}` : 'garbage'
          seen.add(`${from < 10_000 ? 'over' : 'beyond'} ${what}`)
        }
        start = stop
      }
      seen.add(bytes.length === 10_000 ? 'not longer' : 'longer')
    }
    const expected = ['longer', 'not longer', 'over 1', 'over 2']
    expected.push('beyond 0', 'beyond 2', 'beyond garbage')
    assert.deepEqual(seen, new Set(expected))
  })

  test('a clone and its original do not share what they write later', async context => {
    const random = seededRandom(printSeed(context))
    const { disk, file } = diskWithFile(100)
    const disks = [disk]
    const files = [file]
    const texts = ['']
    for (let step = 0; step < 200; step++) {
      const chosen = random.below(disks.length)
      if (random.below(4) === 0 && disks.length < 20) {
        const clone = random.below(2) === 0
        const parent = disks[chosen]!
        disks.push(clone ? parent.crashClone(random, ALL) : parent.processCrashClone())
        // Clones hold no open files, so give each a file that was created before.
        const child = disks.at(-1)!
        child.removeSync('/a')
        files.push(child.createSync('/a'))
        files.at(-1)!.writeSync(parent.peek('/a'), 0, parent.peek('/a').length, 0)
      } else {
        const position = random.below(300)
        files[chosen]!.writeSync(random.bytes(20), 0, 20, position)
        if (random.below(3) === 0) await files[chosen]!.sync()
      }
      texts[chosen] = describeDisk(disks[chosen]!)
      for (let index = 0; index < disks.length; index++) {
        texts[index] ??= describeDisk(disks[index]!)
        assert.equal(describeDisk(disks[index]!), texts[index], `disk ${index} stays as it was`)
      }
    }
  })

  test('shared bytes are copied before either side changes them', () => {
    const { disk, file } = diskWithFile(3)
    const survivor = disk.crashClone(seededRandom(1), ALL)
    file.writeSync(ofText('abcdef'), 0, 6, 1)
    assert.equal(describeDisk(survivor), '/a=\x01\x01\x01')
    file.syncSync()
    const second = disk.crashClone(seededRandom(1), ALL)
    file.writeSync(ofText('xyz'), 0, 3, 0)
    file.writeSync(ofText('!'), 0, 1, 7)
    assert.equal(describeDisk(survivor), '/a=\x01\x01\x01')
    assert.equal(describeDisk(second), '/a=\x01abcdef')
    assert.equal(describeDisk(disk), '/a=xyzcdef!')
  })

  test('kill -9 keeps what was written, as unsynced as it was', () => {
    const { disk, file } = diskWithFile(1)
    file.writeSync(ofText('x'), 0, 1, 1)
    disk.renameSync('/a', '/b')
    const survivor = disk.processCrashClone()
    assert.equal(describeDisk(survivor), '/b=\x01x')
    const names = [...outcomes(survivor)].map(state => state.slice(0, 2))
    assert.deepEqual(new Set(names), new Set(['/a', '/b']))
    const reopened = survivor.openSync('/b', 'readWrite')
    reopened.syncSync()
    survivor.syncDirectorySync('/')
    assert.equal(describeDisk(survivor.crashClone(seededRandom(1), NOTHING)), '/b=\x01x')
  })

  test('bytes lost by a failed sync are read until a crash and never synced again', () => {
    const { disk, file } = diskWithFile(1)
    file.writeSync(ofText('x'), 0, 1, 1)
    disk.loseUnsynced('/a')
    file.writeSync(ofText('y'), 0, 1, 2)
    file.syncSync()
    assert.equal(describeDisk(disk), '/a=\x01xy')
    assert.equal(describeDisk(disk.crashClone(seededRandom(1), NOTHING)), '/a=\x01\0y')
  })
})

describe('asynchronous calls', () => {
  test('a write under way may survive, a sync covers only the writes before it', async () => {
    const disk = new MemoryFileSystem()
    const file = disk.createSync('/a')
    disk.syncDirectorySync('/')
    await file.write(ofText('x'), 0, 1, 0)
    const sync = file.sync()
    const write = file.write(ofText('y'), 0, 1, 1)
    assert.equal(describeDisk(disk), '/a=x', 'neither has happened yet')
    assert.deepEqual(outcomes(disk).has('/a=xy'), true)
    assert.deepEqual(outcomes(disk).has('/a='), true)
    assert.equal(describeDisk(disk.processCrashClone()), '/a=x')
    file.writeSync(ofText('z'), 0, 1, 2)
    await Promise.all([sync, write])
    assert.equal(describeDisk(disk), '/a=xyz')
    assert.equal(describeDisk(disk.crashClone(seededRandom(1), NOTHING)), '/a=x')
  })

  test('random order is random, and the same again for the same seed', async () => {
    const orders = new Set<string>()
    for (const seed of [1, 1, 2, 3, 4, 5]) {
      const disk = new MemoryFileSystem({ random: seededRandom(seed) })
      const file = disk.createSync('/a')
      let order = ''
      const calls = [...'abcd'].map(async text => {
        await file.write(ofText(text), 0, 1, 0)
        order += text
      })
      await Promise.all(calls)
      orders.add(`${seed}${order}`)
    }
    assert.equal(orders.size, 5)
    assert.ok(new Set([...orders].map(text => text.slice(1))).size > 1)
  })

  test('a lent buffer that changes fails its write', async () => {
    const file = new MemoryFileSystem().createSync('/a')
    const source = ofText('abc')
    const write = file.write(source, 1, 2, 0)
    source[0] = 0
    await write
    const broken = file.write(source, 1, 2, 0)
    source[2] = 0
    await assert.rejects(broken, { name: 'AssertionError' })
  })
})

describe('control', () => {
  test('every call is counted and can be failed', async () => {
    const disk = new MemoryFileSystem()
    const kinds: CallKind[] = []
    disk.onCall = (index, kind) => {
      assert.equal(index, kinds.length)
      kinds.push(kind)
    }
    async function script(): Promise<void> {
      disk.makeDirectorySync('/d')
      const lock = disk.lockSync('/d')
      lock.verifySync()
      const file = disk.createSync('/d/a')
      file.writeSync(ofText('1'), 0, 1, 0)
      await file.write(ofText('2'), 0, 1, 1)
      file.syncSync()
      await file.sync()
      file.sizeSync()
      file.readSync(new Uint8Array(1), 0, 1, 0)
      await file.read(new Uint8Array(1), 0, 1, 0)
      file.closeSync()
      disk.syncDirectorySync('/d')
      disk.openSync('/d/a').closeSync()
      disk.renameSync('/d/a', '/d/b')
      disk.listSync('/d')
      disk.removeSync('/d/b')
      lock.releaseSync()
    }
    await script()
    const expected =
      'makeDirectory lock verifyLock create write write sync sync size read read close ' +
      'syncDirectory open close rename list remove unlock'
    assert.deepEqual(kinds, expected.split(' '))
    assert.equal(disk.callCount, kinds.length)
    for (let failing = 0; failing < kinds.length; failing++) {
      const start = disk.callCount
      disk.onCall = index => {
        if (index === start + failing) throw new Error(`call ${failing}`)
      }
      await assert.rejects(script(), { message: `call ${failing}` })
      disk.onCall = undefined
      for (const path of disk.paths()) disk.removeSync(path)
    }
  })

  test('after the power goes off nothing works but letting go', async () => {
    const disk = new MemoryFileSystem()
    const lock = disk.lockSync('/')
    const file = disk.createSync('/a')
    const write = file.write(ofText('x'), 0, 1, 0)
    disk.powerOff()
    const dark = (error: unknown) => systemErrorCode(error) === 'EIO'
    await assert.rejects(write, dark)
    assert.throws(() => file.syncSync(), dark)
    assert.throws(() => disk.openSync('/a'), dark)
    await assert.rejects(file.sync(), dark)
    file.closeSync()
    lock.releaseSync()
    disk.crashClone(seededRandom(1), ALL).openSync('/a').closeSync()
  })

  test('a full disk takes what fits, fails, and recovers with space', async () => {
    const disk = new MemoryFileSystem({ capacity: 10 })
    put(disk, '/a', '123456')
    const file = disk.createSync('/b')
    const full = (error: unknown) => systemErrorCode(error) === 'ENOSPC'
    assert.throws(() => file.writeSync(ofText('abcdef'), 0, 6, 0), full)
    assert.equal(file.sizeSync(), 4)
    file.writeSync(ofText('ABCD'), 0, 4, 0)
    await assert.rejects(file.write(ofText('!'), 0, 1, 4), full)
    assert.equal(describeDisk(disk), '/a=123456 /b=ABCD')
    disk.removeSync('/a')
    await file.write(ofText('!'), 0, 1, 4)
    assert.equal(disk.usedSize, 5)
    assert.equal(disk.crashClone(seededRandom(1), ALL).capacity, 10)
  })

  test('a planted file is durable, in place of the old one or new', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', '1')
    disk.syncDirectorySync('/')
    disk.plant('/a', ofText('damaged'))
    disk.plant('/b', ofText('new'))
    const survivor = disk.crashClone(seededRandom(1), NOTHING)
    assert.equal(describeDisk(survivor), '/a=damaged /b=new')
  })

  test('two disks hold the same when no program can tell them apart', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', 'one')
    put(disk, '/b', 'one')
    disk.makeDirectorySync('/d')
    const clone = () => disk.processCrashClone()
    const changes: Readonly<Record<string, (other: MemoryFileSystem) => void>> = {
      'a byte': other => other.openSync('/a', 'readWrite').writeSync(ofText('0'), 0, 1, 2),
      'a longer file': other => other.openSync('/a', 'readWrite').writeSync(ofText('0'), 0, 1, 3),
      'a name more': other => put(other, '/d/c', ''),
      'a name less': other => other.removeSync('/b'),
      'another name': other => other.renameSync('/b', '/c'),
      'a file for a directory': other => {
        other.removeDirectorySync('/d')
        put(other, '/d', '')
      },
      'a directory': other => other.makeDirectorySync('/d/e'),
      'one file for two': other => {
        other.removeSync('/b')
        other.linkSync('/a', '/b')
      },
    }
    for (const [what, change] of Object.entries(changes)) {
      const [one, other] = [clone(), clone()]
      assert.ok(one.holdsSameAs(other), 'nothing was changed')
      change(one)
      assert.ok(!one.holdsSameAs(other) && !other.holdsSameAs(one), what)
      change(other)
      assert.ok(one.holdsSameAs(other), `${what}, on both`)
    }
    disk.openSync('/a', 'readWrite').syncSync()
    assert.ok(disk.holdsSameAs(disk.crashClone(seededRandom(1), ALL)), 'synced or not')
  })
})
