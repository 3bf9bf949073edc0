// Goal: the file says no more than was acknowledged, is written now and then and at the end, is
// taken only by the import that it belongs to, and never stops an import.
// Method: a file in memory on a clock that the test moves.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { CliFiles } from '../../src/cli/cli-io.ts'
import type { ImportMark } from '../../src/cli/import-batch.ts'
import { type ImportIdentity, ImportProgressFile } from '../../src/cli/import-progress-file.ts'
import { nodeCliFiles } from '../../src/cli/node-cli-files.ts'
import { UsageError } from '../../src/cli/usage-error.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { IoError } from '../../src/errors.ts'
import { SimClock } from '../support/sim-clock.ts'

const IDENTITY: ImportIdentity = {
  url: 'kv://a:1',
  source: 'x.csv',
  size: 100,
  modifiedMs: 1.5,
  format: 'csv',
}
const mark = (offset: number): ImportMark => ({ offset, state: { line: offset + 1 } })

function setUp(content?: string) {
  const disk = { content, writes: [] as string[], failure: undefined as Error | undefined }
  let release: () => void = () => undefined
  const files: CliFiles = {
    ...nodeCliFiles(),
    readText: () => Promise.resolve(disk.content),
    async writeText(_path, text) {
      disk.writes.push(text)
      await new Promise<void>(resolve => {
        release = resolve
      })
      if (disk.failure !== undefined) throw disk.failure
      disk.content = text
    },
    remove() {
      disk.content = undefined
      return Promise.resolve()
    },
  }
  const clock = new SimClock()
  const create = (identity = IDENTITY) => new ImportProgressFile('p', identity, files, clock)
  return { disk, clock, create, release: () => release() }
}

describe('saving', () => {
  test('happens once a second at most, one at a time, with the mark of that moment', async () => {
    const { disk, clock, create, release } = setUp()
    const file = create()
    file.offer(mark(1))
    assert.equal(disk.writes.length, 0)
    clock.advance(1000)
    file.offer(mark(2))
    clock.advance(5000)
    file.offer(mark(3))
    assert.equal(disk.writes.length, 1)
    release()
    await yieldToEventLoop()
    file.offer(mark(4))
    assert.equal(disk.writes.length, 2)
    assert.match(disk.writes[0]!, /"offset":2,/)
    assert.match(disk.writes[1]!, /"offset":4,/)
  })

  test('at the end waits for the save under way, and has the last word', async () => {
    const { disk, clock, create, release } = setUp()
    const file = create()
    clock.advance(1000)
    file.offer(mark(1))
    const kept = file.keep(mark(2))
    release()
    await yieldToEventLoop()
    release()
    assert.equal(await kept, true)
    assert.match(disk.content ?? '', /"offset":2,/)
    assert.equal(disk.content?.at(-1), '\n')
  })

  test('that fails is not tried again, and the file cannot be gone on from', async () => {
    const { disk, clock, create, release } = setUp()
    disk.failure = new IoError('read-only')
    const file = create()
    clock.advance(1000)
    file.offer(mark(1))
    release()
    await yieldToEventLoop()
    clock.advance(1000)
    file.offer(mark(2))
    assert.equal(await file.keep(mark(3)), false)
    assert.equal(disk.writes.length, 1)
    assert.equal(file.failed, disk.failure)
    await file.remove()
  })
})

describe('loading', () => {
  const STATES: readonly ImportMark[] = [
    mark(5),
    { offset: 7, state: { line: 2, container: 'array', edge: 'first' } },
    { offset: 7, state: { line: 2, columns: { key: 0, value: 2, count: 3 }, header: 'k\udcff\n' } },
  ]
  for (const saved of STATES) {
    test(`brings back ${JSON.stringify(saved)}`, async () => {
      const { create, release } = setUp()
      const kept = create().keep(saved)
      await yieldToEventLoop()
      release()
      await kept
      assert.deepEqual(await create().load(), saved)
    })
  }

  test('nothing when there is none', async () => {
    assert.equal(await setUp().create().load(), undefined)
  })

  for (const [name, other] of [
    ['url', 'kv://b:1'],
    ['source', 'y.csv'],
    ['size', 101],
    ['size', null],
    ['modifiedMs', 2],
    ['format', 'csv hex'],
  ] as const) {
    test(`is refused when ${name} is ${other}`, async () => {
      const { create, release } = setUp()
      const kept = create().keep(mark(1))
      await yieldToEventLoop()
      release()
      await kept
      const isIt = (error: unknown): boolean =>
        error instanceof UsageError &&
        error.message.includes(`its ${name} is ${String(IDENTITY[name])}, now it is ${other};`)
      await assert.rejects(create({ ...IDENTITY, [name]: other }).load(), isIt)
    })
  }

  const good = { version: 1, ...IDENTITY, mark: mark(1) }
  const BROKEN: readonly unknown[] = [
    '',
    '{"version":1',
    [],
    null,
    { ...good, version: 2 },
    { ...good, mark: null },
    { ...good, mark: { offset: -1, state: { line: 1 } } },
    { ...good, mark: { offset: 1.5, state: { line: 1 } } },
    { ...good, mark: { offset: 1 } },
    { ...good, mark: { offset: 1, state: { line: 1, columns: { key: 'a' } } } },
  ]
  for (const content of BROKEN) {
    const text = typeof content === 'string' ? content : JSON.stringify(content)
    test(`is refused when the file says ${text}`, async () => {
      await assert.rejects(setUp(text).create().load(), UsageError)
    })
  }
})
