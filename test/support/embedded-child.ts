/**
 * The process that is killed: an embedded engine that writes what embedded-script.ts says and
 * reports on file descriptor 3, synchronously, what it is about to write and what was acknowledged.
 *
 *   embedded-child <setup as JSON>
 */
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { delay, systemClock, yieldToEventLoop } from '../../src/clock.ts'
import {
  type Db,
  InlineExecutor,
  nodeFileSystem,
  openInEnvironment,
} from '../../src/engine/index.ts'
import { WorkerExecutor } from '../../src/engine/worker-executor.ts'
import { KvError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom, systemRandom } from '../../src/random.ts'
import type { SubmittedWrite } from './crash-oracle.ts'
import { type EmbeddedSetup, embeddedWrite, Message } from './embedded-script.ts'

const REPORT_FD = 3
const KIB = 1024
const BURST_MAX = 24
const DUMP_PAGE = 500
const TORN_PAUSE_MS = 10

const setup = JSON.parse(process.argv[2] ?? '') as EmbeddedSetup
const clock = systemClock()
let reports: Buffer[] = []

function report(kind: Message, ...body: readonly Uint8Array[]): void {
  const size = body.reduce((sum, part) => sum + part.length, 0)
  const head = Buffer.alloc(5)
  head.writeUInt8(kind, 0)
  head.writeUInt32LE(size, 1)
  if (reports.length === 0) queueMicrotask(flushReports)
  reports.push(head, ...body.map(part => Buffer.from(part)))
}

function flushReports(): void {
  const bytes = Buffer.concat(reports)
  reports = []
  for (let at = 0; at < bytes.length; ) at += writeSync(REPORT_FD, bytes, at)
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

async function openDb(): Promise<Db> {
  const hasher = await loadHasher()
  const fileSystem = nodeFileSystem()
  const executor = setup.threads
    ? new WorkerExecutor(1 + setup.compactionThreads)
    : new InlineExecutor({ fileSystem, hasher, clock })
  const options = {
    durability: setup.durability,
    memoryBudget: 4 * KIB * KIB,
    memtableSize: setup.memtableSize,
    compactionThreads: setup.compactionThreads,
    blockSize: KIB,
    tableSizeTarget: 2 * setup.memtableSize,
    level0CompactionTrigger: 2,
    baseLevelSize: 6 * setup.memtableSize,
    levelSizeRatio: 4,
    openFilesMax: 16,
  }
  const environment = { fileSystem, executor, clock, random: systemRandom(), hasher }
  return await openInEnvironment(setup.directory, options, environment)
}

async function open(): Promise<Db> {
  const db = await openDb()
  const elapsed = Buffer.alloc(8)
  elapsed.writeDoubleLE(db.stats().recovery.elapsedMs)
  report(Message.opened, elapsed)
  for (const reverse of [false, true]) {
    const kind = reverse ? Message.reverseEntry : Message.entry
    const scan = db.entries({ reverse })
    for (let page = await scan.nextBatch(DUMP_PAGE); page.length > 0; ) {
      for (const [key, value] of page) {
        const keySize = Buffer.alloc(2)
        keySize.writeUInt16LE(key.length)
        report(kind, keySize, key, value)
      }
      page = await scan.nextBatch(DUMP_PAGE)
    }
  }
  report(Message.dumped)
  return db
}

async function write(db: Db, { operations, durability }: SubmittedWrite): Promise<void> {
  const { plant } = setup
  const [first] = operations
  if (first === undefined) return
  const asked = { durability: plant === 'acknowledge-unwritten' ? 'none' : durability } as const
  if (plant === 'forget-deletions' && first.type === 'del') return
  if (plant === 'tear-batches' && operations.length > 1) {
    await db.batch(operations.slice(0, 1), asked)
    await delay(clock, TORN_PAUSE_MS)
    await db.batch(operations.slice(1), asked)
  } else if (operations.length > 1) await db.batch(operations, asked)
  else if (first.type === 'del') await db.delete(first.key, asked)
  else if (first.type === 'put') {
    const { key, value, ttlMs } = first
    await db.put(key, value, ttlMs === undefined ? asked : { ttlMs, ...asked })
  } else await db.batch(operations, asked)
}

async function submit(db: Db, position: number): Promise<void> {
  const { plant } = setup
  if (plant === 'acknowledge-early') report(Message.acknowledged, uint32(position))
  try {
    const isLost = plant === 'lose-one-write' && position % 100 === 0
    if (!isLost) await write(db, embeddedWrite(setup, position))
    if (plant !== 'acknowledge-early') report(Message.acknowledged, uint32(position))
  } catch (error) {
    if (!(error instanceof KvError) || error.outcome !== 'rejected') throw error
    if (error.code !== 'KV_OVERLOADED') throw error
    report(Message.rejected, uint32(position))
  }
}

/** Writes until it is killed: bursts that begin before the last one has been answered. */
async function load(db: Db, from: number): Promise<void> {
  const random = seededRandom(setup.seed + from)
  if (setup.plant === 'invent') await db.put('nobody wrote this', 'value')
  let before: Promise<unknown> = Promise.resolve()
  for (let position = from; ; ) {
    const count = 1 + random.below(BURST_MAX)
    const positions = Array.from({ length: count }, (_, index) => position + index)
    position += count
    report(Message.submitted, uint32(position))
    // Nothing may be written that was not announced.
    flushReports()
    if (setup.plant === 'reorder') positions.reverse()
    if (setup.plant === 'end-by-itself') throw new Error('out of its own mind')
    const burst = Promise.all(positions.map(each => submit(db, each)))
    await before
    before = burst
    await yieldToEventLoop()
  }
}

// Threads are not started before they are needed, and neither is anything else of this process.
let opened: Db | undefined
for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(' ')
  if (command === 'open') opened = await open()
  else if (command === 'go' && opened !== undefined) await load(opened, Number(argument))
}
