// Goal: every entry of the scan is written once, in its order, in pieces, no faster than they are
// taken; and however it ends, the scan is closed.
// Method: scans of chosen pages into a writer that the test lets go on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Exporter, type ExporterOptions } from '../../src/cli/exporter.ts'
import { createEncoder } from '../../src/cli/record-encoder.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { AbortedError, UnavailableError } from '../../src/errors.ts'
import { MemoryRemote } from '../support/memory-remote.ts'

function setUp(count: number, valueSize = 10, changes: Partial<ExporterOptions> = {}) {
  const store = new MemoryRemote()
  for (let index = 0; index < count; index++) {
    store.data.set(`k${String(index).padStart(6, '0')}`, 'v'.repeat(valueSize))
  }
  const pieces: Uint8Array[] = []
  const controller = new AbortController()
  const exporter = new Exporter({
    scan: store.entries(),
    encoder: createEncoder('csv', { delimiter: 0x2c, header: true, encoding: 'text' }),
    write: bytes => {
      pieces.push(bytes)
      return Promise.resolve()
    },
    signal: controller.signal,
    ...changes,
  })
  const text = (): string => Buffer.concat(pieces).toString()
  return { store, exporter, pieces, text, controller }
}

test('all entries, in pieces that stay as they were handed over', async () => {
  const { store, exporter, pieces, text } = setUp(5000, 300)
  assert.equal(await exporter.run(), true)
  const rows = [...store.data].map(([key, value]) => `${key},${value}\n`)
  assert.equal(text(), `key,value\n${rows.join('')}`)
  assert.ok(pieces.length > 3)
  for (const piece of pieces.slice(0, -1)) assert.ok(piece.length >= 256 * 1024)
  assert.deepEqual(exporter.counts, {
    records: 5000,
    bytes: 5000 * 307,
    written: text().length,
  })
  assert.equal(store.openScans, 0)
})

test('nothing, in a format that says so', async () => {
  const encoder = createEncoder('json', { delimiter: 0x2c, header: true, encoding: 'text' })
  const { exporter, text } = setUp(0, 0, { encoder })
  assert.equal(await exporter.run(), true)
  assert.equal(text(), '{}\n')
})

test('nothing more is read until a piece is taken', async () => {
  const { store } = setUp(5000, 300)
  const goOn: (() => void)[] = []
  let pages = 0
  store.onPage = () => {
    pages++
    return Promise.resolve()
  }
  const write = (): Promise<void> => new Promise(resolve => goOn.push(resolve))
  const run = new Exporter({ ...optionsOf(store.entries()), write }).run()
  let over = false
  const end = (): void => {
    over = true
  }
  run.then(end, end)
  while (goOn.length === 0) await yieldToEventLoop()
  const before = pages
  for (let turn = 0; turn < 20; turn++) await yieldToEventLoop()
  assert.deepEqual([goOn.length, pages, over], [1, before, false])
  while (!over) {
    goOn.pop()?.()
    await yieldToEventLoop()
  }
  assert.equal(await run, true)
})

function optionsOf(scan: ExporterOptions['scan']): ExporterOptions {
  return {
    scan,
    encoder: createEncoder('jsonl', { delimiter: 0x2c, header: true, encoding: 'text' }),
    write: () => Promise.resolve(),
    signal: new AbortController().signal,
  }
}

test('a stop ends it, also while the server is asked', async () => {
  for (const early of [true, false]) {
    const { store, exporter, controller } = setUp(5000)
    store.onPage = () => {
      controller.abort()
      return early ? Promise.resolve() : Promise.reject(new AbortedError('aborted'))
    }
    const scan = store.entries()
    const options = { ...optionsOf(scan), signal: controller.signal }
    assert.equal(await new Exporter(options).run(), false)
    assert.equal(await exporter.run(), false)
    assert.equal(store.openScans, 0)
  }
})

test('what fails is told, and the scan is closed', async () => {
  const gone = new UnavailableError('gone')
  const { store, exporter } = setUp(10, 10, { write: () => Promise.reject(gone) })
  await assert.rejects(exporter.run(), gone)
  store.onPage = () => Promise.reject(gone)
  await assert.rejects(new Exporter(optionsOf(store.entries())).run(), gone)
  assert.equal(store.openScans, 0)
})
