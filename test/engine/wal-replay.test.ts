// Goal: replay gives back a prefix of what was written, never loses silently what a later frame
// promised, calls every damage corruption, and never calls a crash corruption.
// Method: random logs; whole, cut at every length, with every byte changed, and after power loss
// or kill -9 at every call of the disk; then the rows of the decision table one by one.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionError } from '../../src/assert.ts'
import { encodeWalHeader, WAL_HEADER_SIZE } from '../../src/engine/wal-format.ts'
import { WalFrameBuilder } from '../../src/engine/wal-frame.ts'
import type { WalWriter } from '../../src/engine/wal-writer.ts'
import { CorruptionError, VersionMismatchError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import {
  createSegment,
  frameCountOf,
  type LoggedFrame,
  replayScript,
  SCRIPT_DATABASE_ID,
  SCRIPT_DIRECTORY,
  WalScript,
  type WalScriptOptions,
} from '../support/wal-script.ts'

const hasher = await loadHasher()

/** None, and so much that several frames fit, or none does. */
const PADDINGS = [0, 8, 100, 1000, 10_000] as const

interface Written {
  readonly disk: MemoryFileSystem
  readonly script: WalScript
}

async function write(seed: number, options: WalScriptOptions): Promise<Written> {
  const disk = new MemoryFileSystem()
  const script = new WalScript(disk, hasher, seededRandom(seed))
  const wal = await script.run(options)
  wal.close()
  return { disk, script }
}

function pathOf(fileNumber: number): string {
  return `${SCRIPT_DIRECTORY}/${String(fileNumber).padStart(6, '0')}.wal`
}

/** The `syncedUpTo` of a frame, read from the file. */
function promiseOf(disk: MemoryFileSystem, frame: LoggedFrame): number {
  const bytes = disk.peek(pathOf(frame.fileNumber))
  return Number(new DataView(bytes.buffer).getBigUint64(frame.offset + 24, true))
}

/** What of a segment later frames of it and later segments promised to be durable. */
function promisedLength({ disk, script }: Written, fileNumber: number, above: number): number {
  let promised = 0
  for (const frame of script.frames) {
    if (frame.fileNumber === fileNumber && frame.offset > above) {
      promised = Math.max(promised, promiseOf(disk, frame))
    }
  }
  return promised
}

/** Registers a test of a log that is cut at any length. */
function cutEverywhere(paddingSize: number): void {
  const what = 'gives a prefix, or is corrupt below what was promised'
  test(`a log cut at any length ${what}, with padding ${paddingSize}`, async t => {
    const seed = printSeed(t)
    const written = await write(seed, { frameCount: 25, rotation: 0.15, paddingSize })
    const { disk, script } = written
    const { fileNumbers, frames } = script
    const used = fileNumbers.filter(number => frames.some(frame => frame.fileNumber === number))
    const newest = used.at(-1)!
    for (const fileNumber of fileNumbers) {
      const bytes = disk.peek(pathOf(fileNumber))
      for (let length = 0; length < bytes.length; length++) {
        disk.plant(pathOf(fileNumber), bytes.slice(0, length))
        let replayed: Awaited<ReturnType<typeof replayScript>>
        try {
          replayed = await replayScript(disk, hasher, { fileNumbers })
        } catch (error) {
          assert.ok(error instanceof CorruptionError, String(error))
          const cut = fileNumber !== newest || fileNumber !== fileNumbers.at(-1)
          assert.ok(cut, 'the last segment may be cut anywhere')
          continue
        }
        const { ops, result } = replayed
        const kept = frames.filter(frame => frame.fileNumber !== fileNumber || frame.end <= length)
        // Only the tail of the last segment in use may go, down to nothing but a cut header.
        assert.equal(frameCountOf(ops, frames), kept.length, `${fileNumber} cut at ${length}`)
        assert.equal(result.unused.includes(fileNumber), length < WAL_HEADER_SIZE)
        const last = kept.findLast(frame => frame.fileNumber === fileNumber)
        const whole = last?.end ?? WAL_HEADER_SIZE
        if (bytes.subarray(whole, length).some(byte => byte !== 0)) {
          assert.equal(result.tornTail?.offset, whole)
          assert.equal(result.tornTail?.length, length - whole)
        } else assert.equal(result.tornTail, undefined)
      }
      disk.plant(pathOf(fileNumber), bytes)
    }
  })
}

/** Registers a test of a log of which any byte is changed. */
function changeEverywhere(paddingSize: number): void {
  const what = 'is never delivered, and what was promised is never lost'
  test(`a changed byte ${what}, with padding ${paddingSize}`, async t => {
    const seed = printSeed(t)
    const random = seededRandom(seed)
    const written = await write(seed, { frameCount: 25, rotation: 0.12, paddingSize })
    const { disk, script } = written
    const { fileNumbers, frames } = script
    let corrupt = 0
    let torn = 0
    for (const fileNumber of fileNumbers) {
      const bytes = disk.peek(pathOf(fileNumber))
      for (let offset = 0; offset < bytes.length; offset++) {
        const damaged = bytes.slice()
        damaged[offset]! ^= 1 + random.below(255)
        disk.plant(pathOf(fileNumber), damaged)
        const hit = frames.find(f => f.fileNumber === fileNumber && f.end > offset)
        let replayed: Awaited<ReturnType<typeof replayScript>>
        try {
          replayed = await replayScript(disk, hasher, { fileNumbers })
        } catch (error) {
          assert.ok(error instanceof CorruptionError, String(error))
          corrupt++
          assert.equal(error.path, pathOf(fileNumber))
          const end = frames.findLast(frame => frame.fileNumber === fileNumber)?.end
          if (offset >= WAL_HEADER_SIZE) assert.equal(error.offset, hit?.offset ?? end)
          continue
        }
        torn++
        // A segment that was never used may have any header.
        if (hit === undefined) {
          assert.equal(frameCountOf(replayed.ops, frames), frames.length)
          continue
        }
        assert.equal(frameCountOf(replayed.ops, frames), frames.indexOf(hit))
        const promised = promisedLength(written, fileNumber, hit.offset)
        assert.ok(promised <= hit.offset, `${promised} bytes were promised`)
        const lost = frames.slice(frames.indexOf(hit))
        assert.ok(
          lost.every(frame => frame.fileNumber === fileNumber),
          'no segment is lost for damage in an earlier one',
        )
        assert.equal(replayed.result.tornTail?.offset, hit.offset)
        assert.equal(replayed.result.tornTail?.length, bytes.length - hit.offset)
      }
      disk.plant(pathOf(fileNumber), bytes)
    }
    assert.ok(corrupt > 0, 'some changes are corruption')
    assert.ok(torn > 0, 'some changes are a torn tail')
  })
}

describe('replayWal', () => {
  test('gives back every op, in pieces of any size, with pauses and without', async t => {
    const seed = printSeed(t)
    for (let round = 0; round < 20; round++) {
      const { disk, script } = await write(seed + round, {
        frameCount: 60,
        valueSizeMax: round % 4 === 0 ? 5000 : 60,
        paddingSize: PADDINGS[round % 5]!,
      })
      const { fileNumbers, frames } = script
      const pieceSize = [1, 64, 777, 1 << 20][round % 4]!
      const shuffled = fileNumbers.toReversed()
      const options = { fileNumbers: shuffled, pieceSize }
      const { ops, result } = await replayScript(disk, hasher, options, round % 3)
      assert.equal(frameCountOf(ops, frames), frames.length)
      assert.equal(result.frameCount, frames.length)
      assert.equal(result.tornTail, undefined)
      const isUsed = (number: number) => disk.peek(pathOf(number)).length > WAL_HEADER_SIZE
      assert.equal(result.newestNumber, fileNumbers.findLast(isUsed))
      const entries = ops.filter(op => !op.startsWith('5 '))
      assert.equal(result.entryCount, entries.length)
      assert.equal(result.lastSequence, Number(entries.at(-1)?.split(' ')[1]))
    }
  })

  test('starts at the oldest segment that is needed', async t => {
    const { disk, script } = await write(printSeed(t), { frameCount: 60, rotation: 0.3 })
    const { fileNumbers, frames } = script
    for (const logNumber of fileNumbers) {
      const { ops } = await replayScript(disk, hasher, { fileNumbers, logNumber })
      const expected = frames.filter(frame => frame.fileNumber >= logNumber)
      assert.equal(frameCountOf(ops, expected), expected.length)
    }
  })

  for (const paddingSize of [0, 400]) cutEverywhere(paddingSize)
  for (const paddingSize of [0, 400]) changeEverywhere(paddingSize)
  test('no crash is called corruption, and nothing acknowledged is lost', async t => {
    const seed = printSeed(t)
    let crashes = 0
    for (let round = 0; round < 12; round++) {
      const random = seededRandom(seed + round)
      const disk = new MemoryFileSystem({ random })
      const script = new WalScript(disk, hasher, random)
      const survivors: { clone: MemoryFileSystem; acknowledged: number; issued: number }[] = []
      disk.onCall = () => {
        const keep = (['random', 'random', 'nothing', 'all'] as const)[random.below(4)]!
        const clone =
          random.below(4) === 0
            ? disk.processCrashClone(random)
            : disk.crashClone(random, { keep, probability: random.next() })
        const acknowledged = script.frames.findLastIndex(frame => frame.acknowledged) + 1
        survivors.push({ clone, acknowledged, issued: script.frames.length })
      }
      const paddingSize = PADDINGS[round % 5]!
      const sizes = { valueSizeMax: 900, paddingSize }
      await script.run({ frameCount: 40, rotation: 0.15, sync: random.next(), ...sizes })
      disk.onCall = undefined
      for (const { clone, acknowledged, issued } of survivors) {
        crashes++
        const fileNumbers = clone
          .paths()
          .filter(path => path.endsWith('.wal'))
          .map(path => Number(path.slice(-10, -4)))
        const { ops } = await replayScript(clone, hasher, { fileNumbers })
        const count = frameCountOf(ops, script.frames)
        assert.ok(count >= acknowledged, `${acknowledged} frames acknowledged, ${count} are there`)
        assert.ok(count <= issued, `${issued} frames were written, ${count} are there`)
      }
    }
    assert.ok(crashes > 500, `${crashes} crashes`)
  })

  test('recovery that crashes itself finds the same again', async t => {
    const seed = printSeed(t)
    for (let round = 0; round < 30; round++) {
      const random = seededRandom(seed + round)
      const disk = new MemoryFileSystem()
      const script = new WalScript(disk, hasher, random)
      const paddingSize = PADDINGS[round % 5]!
      await script.run({ frameCount: 12, sync: 0.3, valueSizeMax: 3000, paddingSize })
      // Killed: unsynced frames are in the page cache and are replayed from there ...
      const killed = disk.processCrashClone(random)
      const { fileNumbers } = script
      const first = await replayScript(killed, hasher, { fileNumbers })
      const next = fileNumbers.at(-1)! + 1
      await createSegment(killed, SCRIPT_DIRECTORY, {
        fileNumber: next,
        databaseId: SCRIPT_DATABASE_ID,
        firstSequence: first.result.lastSequence + 1,
        previous: first.result.newestNumber,
      })
      // ... then the power fails before they were flushed, and the cache is gone.
      const dark = killed.crashClone(random, { keep: 'random' })
      const numbers = dark.paths().map(path => Number(path.slice(-10, -4)))
      const { ops } = await replayScript(dark, hasher, { fileNumbers: numbers })
      const acknowledged = script.frames.findLastIndex(frame => frame.acknowledged) + 1
      const count = frameCountOf(ops, script.frames)
      assert.ok(count >= acknowledged, `${acknowledged} frames acknowledged, ${count} are there`)
    }
  })

  test('a segment killed before its header was synced is no predecessor', async t => {
    const options = { frameCount: 8, valueSizeMax: 60, sync: 1 }
    const { disk, script } = await write(printSeed(t), options)
    const { fileNumbers, frames } = script
    const unsynced = fileNumbers.at(-1)! + 1
    const position = { databaseId: SCRIPT_DATABASE_ID, firstSequence: 1000 }
    const previous = { fileNumber: fileNumbers.at(-1)!, length: 0, chain: 0 }
    const header = encodeWalHeader({ ...position, fileNumber: unsynced, previous })
    const file = disk.createSync(pathOf(unsynced))
    disk.syncDirectorySync(SCRIPT_DIRECTORY)
    file.writeSync(header, 0, header.length, 0)
    const killed = disk.processCrashClone()
    const all = [...fileNumbers, unsynced]
    const { result } = await replayScript(killed, hasher, { fileNumbers: all })
    const next = { ...position, fileNumber: unsynced + 1, previous: result.newestNumber }
    await createSegment(killed, SCRIPT_DIRECTORY, next)
    const dark = killed.crashClone(seededRandom(1), { keep: 'nothing' })
    const { ops } = await replayScript(dark, hasher, { fileNumbers: [...all, next.fileNumber] })
    assert.equal(frameCountOf(ops, frames), frames.length)
  })
})

describe('the decision table', () => {
  const builder = new WalFrameBuilder(hasher)

  function put(wal: WalWriter, sequence: number): void {
    builder.begin()
    builder.addPut(Uint8Array.of(sequence), new Uint8Array(20))
    wal.appendSync(builder, sequence)
  }

  function create(
    disk: MemoryFileSystem,
    fileNumber: number,
    previous: WalWriter | number,
    databaseId = SCRIPT_DATABASE_ID,
  ): Promise<WalWriter> {
    disk.makeDirectorySync(SCRIPT_DIRECTORY)
    return createSegment(disk, SCRIPT_DIRECTORY, {
      fileNumber,
      databaseId,
      firstSequence: 1,
      previous,
    })
  }

  function damage(disk: MemoryFileSystem, fileNumber: number, offset: number): void {
    const bytes = disk.peek(pathOf(fileNumber))
    bytes[offset]! ^= 0x40
    disk.plant(pathOf(fileNumber), bytes)
  }

  function corruptionAt(fileNumber: number, offset: number, what: RegExp) {
    return (error: unknown): boolean => {
      assert.ok(error instanceof CorruptionError, String(error))
      assert.equal(error.path, pathOf(fileNumber))
      assert.equal(error.offset, offset)
      assert.match(error.what, what)
      return true
    }
  }

  test('the last frame damaged: a torn tail, reported with its length', async () => {
    const disk = new MemoryFileSystem()
    const wal = await create(disk, 3, 0)
    put(wal, 1)
    await wal.sync()
    const { size } = wal
    put(wal, 2)
    damage(disk, 3, size + 45)
    const { ops, result } = await replayScript(disk, hasher, { fileNumbers: [3] })
    assert.equal(ops.length, 1)
    assert.equal(result.tornTail?.offset, size)
    assert.equal(result.tornTail?.length, wal.size - size)
    assert.match(result.tornTail?.what ?? '', /checksum/)
  })

  test('frames behind the damage that promise nothing of it: a torn tail', async () => {
    const disk = new MemoryFileSystem()
    const wal = await create(disk, 3, 0)
    for (let sequence = 1; sequence <= 4; sequence++) put(wal, sequence)
    damage(disk, 3, WAL_HEADER_SIZE)
    const { ops, result } = await replayScript(disk, hasher, { fileNumbers: [3] })
    assert.equal(ops.length, 0)
    assert.equal(result.tornTail?.length, wal.size - WAL_HEADER_SIZE)
  })

  test('a frame behind the damage that promises it: corruption', async () => {
    for (const pieceSize of [64, 1 << 20]) {
      const disk = new MemoryFileSystem()
      const wal = await create(disk, 3, 0)
      put(wal, 1)
      await wal.sync()
      for (let sequence = 2; sequence <= 40; sequence++) put(wal, sequence)
      damage(disk, 3, WAL_HEADER_SIZE + 4)
      await assert.rejects(
        replayScript(disk, hasher, { fileNumbers: [3], pieceSize }),
        corruptionAt(3, WAL_HEADER_SIZE, /was written when this was durable/),
      )
    }
  })

  test('zeros behind the frames are the end, zeros before a frame are damage', async () => {
    for (const pieceSize of [16, 1 << 20]) {
      const disk = new MemoryFileSystem()
      const wal = await create(disk, 3, 0)
      for (let sequence = 1; sequence <= 3; sequence++) put(wal, sequence)
      const frames = disk.peek(pathOf(3))
      const frameSize = (frames.length - WAL_HEADER_SIZE) / 3
      for (const zeros of [1, 8, 39, 40, 5000]) {
        disk.plant(pathOf(3), Buffer.concat([frames, new Uint8Array(zeros)]))
        const { ops, result } = await replayScript(disk, hasher, { fileNumbers: [3], pieceSize })
        assert.equal(ops.length, 3)
        assert.equal(result.tornTail, undefined)
        disk.plant(pathOf(3), Buffer.concat([frames, new Uint8Array(zeros), Uint8Array.of(1)]))
        const torn = await replayScript(disk, hasher, { fileNumbers: [3], pieceSize })
        assert.equal(torn.ops.length, 3)
        assert.equal(torn.result.tornTail?.offset, frames.length)
      }
      const second = WAL_HEADER_SIZE + frameSize
      disk.plant(pathOf(3), frames.fill(0, second, second + frameSize))
      const lost = await replayScript(disk, hasher, { fileNumbers: [3], pieceSize })
      assert.equal(lost.result.tornTail?.offset, second)
      const closed = { fileNumber: 3, length: frames.length }
      await assert.rejects(
        replayScript(disk, hasher, { fileNumbers: [3], pieceSize, closed }),
        corruptionAt(3, second, /database was closed/),
      )
      disk.plant(pathOf(3), frames.fill(0, second))
      await assert.rejects(
        replayScript(disk, hasher, { fileNumbers: [3], pieceSize, closed }),
        corruptionAt(3, second, /database was closed/),
      )
    }
  })

  test('damage in a segment that was followed by another: corruption', async () => {
    const disk = new MemoryFileSystem()
    const first = await create(disk, 3, 0)
    put(first, 1)
    await first.sync()
    const second = await create(disk, 5, first)
    put(second, 2)
    damage(disk, 3, first.size - 1)
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3, 5] }),
      corruptionAt(3, WAL_HEADER_SIZE, /later segment was written/),
    )
  })

  test('a next segment without frames vouches only for what its header records', async () => {
    const disk = new MemoryFileSystem()
    const first = await create(disk, 3, 0)
    put(first, 1)
    await first.sync()
    const recorded = first.size
    await create(disk, 5, first)
    put(first, 2)
    const whole = disk.peek(pathOf(3))
    damage(disk, 3, recorded)
    const { ops, result } = await replayScript(disk, hasher, { fileNumbers: [3, 5] })
    assert.equal(ops.length, 1)
    assert.equal(result.tornTail?.offset, recorded)
    disk.plant(pathOf(3), whole.slice(0, recorded))
    await assert.doesNotReject(replayScript(disk, hasher, { fileNumbers: [3, 5] }))
    disk.plant(pathOf(3), whole.slice(0, WAL_HEADER_SIZE))
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3, 5] }),
      corruptionAt(3, WAL_HEADER_SIZE, /ends before/),
    )
    disk.plant(pathOf(3), whole)
    damage(disk, 3, WAL_HEADER_SIZE)
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3, 5] }),
      corruptionAt(3, WAL_HEADER_SIZE, /next segment records/),
    )
  })

  test('a segment cut between two frames, although it was followed: corruption', async () => {
    const disk = new MemoryFileSystem()
    const first = await create(disk, 3, 0)
    put(first, 1)
    await first.sync()
    const second = await create(disk, 5, first)
    const cut = first.size
    put(first, 2)
    await first.sync()
    put(second, 3)
    disk.plant(pathOf(3), disk.peek(pathOf(3)).slice(0, cut))
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3, 5] }),
      (error: unknown) => error instanceof CorruptionError && /frames are missing/.test(error.what),
    )
  })

  test('a segment in the middle that is gone: corruption', async () => {
    const disk = new MemoryFileSystem()
    const first = await create(disk, 3, 0)
    const second = await create(disk, 5, first)
    put(second, 1)
    await second.sync()
    const third = await create(disk, 6, second)
    put(third, 2)
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3, 6] }),
      corruptionAt(5, 0, /missing/),
    )
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [5, 6], logNumber: 4 }),
      corruptionAt(4, 0, /missing/),
    )
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3, 5], closed: { fileNumber: 6, length: 64 } }),
      corruptionAt(6, 0, /missing/),
    )
  })

  test('a closed log is exactly as long as recorded', async () => {
    const disk = new MemoryFileSystem()
    const wal = await create(disk, 3, 0)
    put(wal, 1)
    const middle = wal.size
    put(wal, 2)
    const bytes = disk.peek(pathOf(3))
    const closed = { fileNumber: 3, length: bytes.length }
    await assert.doesNotReject(replayScript(disk, hasher, { fileNumbers: [3], closed }))
    disk.plant(pathOf(3), bytes.slice(0, middle))
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3], closed }),
      corruptionAt(3, middle, /database was closed/),
    )
    disk.plant(pathOf(3), bytes.slice(0, middle + 9))
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3], closed }),
      corruptionAt(3, middle, /database was closed/),
    )
    disk.plant(pathOf(3), bytes)
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3], closed: { fileNumber: 3, length: middle } }),
      corruptionAt(3, bytes.length, /database was closed/),
    )
  })

  test('a newest segment that was never used may have any header', async () => {
    for (const rest of [0, 1, 63, 64]) {
      const disk = new MemoryFileSystem()
      const wal = await create(disk, 3, 0)
      put(wal, 1)
      disk.plant(pathOf(5), new Uint8Array(rest))
      const { ops, result } = await replayScript(disk, hasher, { fileNumbers: [3, 5] })
      assert.equal(ops.length, 1)
      assert.equal(result.newestNumber, 3)
      assert.deepEqual(result.unused, [5])
    }
  })

  test('a damaged header of a segment in use: corruption', async () => {
    const disk = new MemoryFileSystem()
    const wal = await create(disk, 3, 0)
    put(wal, 1)
    damage(disk, 3, 20)
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3] }),
      corruptionAt(3, 0, /header/),
    )
  })

  test('segments of another database, version or name are refused', async () => {
    const disk = new MemoryFileSystem()
    const stranger = await create(
      disk,
      3,
      0,
      SCRIPT_DATABASE_ID.map(byte => byte ^ 1),
    )
    put(stranger, 1)
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3] }),
      corruptionAt(3, 16, /another database/),
    )
    const own = await create(disk, 4, 0)
    put(own, 1)
    disk.plant(pathOf(7), disk.peek(pathOf(4)))
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [7] }),
      corruptionAt(7, 0, /header/),
    )
    const header = encodeWalHeader(
      {
        fileNumber: 8,
        databaseId: SCRIPT_DATABASE_ID,
        firstSequence: 1,
        previous: { fileNumber: 0, length: 0, chain: 0 },
      },
      2,
    )
    disk.plant(pathOf(8), header)
    await assert.rejects(replayScript(disk, hasher, { fileNumbers: [8] }), VersionMismatchError)
  })

  test('a segment with frames that nothing follows and nothing needs: corruption', async () => {
    const disk = new MemoryFileSystem()
    const first = await create(disk, 3, 0)
    put(first, 1)
    const astray = await create(disk, 5, 0)
    put(astray, 1)
    await create(disk, 6, 3)
    await assert.rejects(
      replayScript(disk, hasher, { fileNumbers: [3, 5, 6] }),
      corruptionAt(5, 0, /no later segment/),
    )
  })

  test('log data out of place, and a batch that a frame does not end: corruption', async () => {
    const cases: readonly ((builder: WalFrameBuilder) => void)[] = [
      builder => builder.addLogData(Uint8Array.of(1)),
      builder => {
        builder.beginBatch(3)
        for (let value = 0; value < 2; value++) builder.addLogData(Uint8Array.of(value))
        builder.addDelete(Uint8Array.of(1))
      },
      builder => {
        builder.beginBatch(3)
        builder.addDelete(Uint8Array.of(1))
        builder.addLogData(Uint8Array.of(1))
        builder.addDelete(Uint8Array.of(2))
      },
      builder => {
        builder.addDelete(Uint8Array.of(1))
        builder.bytes[40]! |= 0x80
      },
    ]
    for (const add of cases) {
      const disk = new MemoryFileSystem()
      const wal = await create(disk, 3, 0)
      const builder = new WalFrameBuilder(hasher)
      builder.begin()
      add(builder)
      wal.appendSync(builder, 1)
      await assert.rejects(
        replayScript(disk, hasher, { fileNumbers: [3] }),
        (error: unknown) => error instanceof CorruptionError && /malformed/.test(error.what),
      )
    }
    const builder = new WalFrameBuilder(hasher)
    builder.begin()
    builder.beginBatch(2)
    builder.addDelete(Uint8Array.of(1))
    assert.throws(() => builder.beginBatch(1), AssertionError)
    const wal = await create(new MemoryFileSystem(), 3, 0)
    assert.throws(() => wal.appendSync(builder, 1), AssertionError)
  })

  test('no segments at all: nothing to do', async () => {
    const { ops, result } = await replayScript(new MemoryFileSystem(), hasher, { fileNumbers: [] })
    assert.deepEqual(ops, [])
    assert.equal(result.newestNumber, 0)
  })
})
