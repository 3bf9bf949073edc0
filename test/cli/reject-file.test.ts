// Goal: a reject is in the file once flush has resolved, whatever failed before; the header stands
// in front of the first one; the file's name tells what it holds.
// Method: a file in memory that fails when told.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { AppendOptions } from '../../src/cli/cli-io.ts'
import { RejectFile, rejectPath } from '../../src/cli/reject-file.ts'
import { IoError } from '../../src/errors.ts'

function setUp(options: { resume?: boolean; header?: string; content?: string } = {}) {
  const disk = { content: options.content, failures: 0, writes: 0 }
  const files = {
    append(_path: string, content: string | Uint8Array, how: AppendOptions = {}): Promise<void> {
      disk.writes++
      if (disk.failures-- > 0) return Promise.reject(new IoError('the disk'))
      const before = how.replace === true ? '' : (disk.content ?? '')
      const head = before === '' ? Buffer.from(how.head ?? []).toString() : ''
      disk.content = before + head + Buffer.from(content).toString()
      return Promise.resolve()
    },
  }
  const header = options.header === undefined ? undefined : Buffer.from(options.header)
  const file = new RejectFile({
    path: 'x',
    files,
    resume: options.resume ?? false,
    header: () => header,
    show: source => source,
  })
  const add = (text: string): void => {
    file.add({ line: 1, offset: 0, problem: '', source: Buffer.from(text) })
  }
  return { disk, file, add }
}

describe('the file', () => {
  test('is made by the first reject, in place of an earlier one', async () => {
    const { disk, file, add } = setUp({ content: 'old\n', header: 'key,value\n' })
    await file.flush()
    assert.equal(disk.content, 'old\n')
    add('a\n')
    add('b')
    await file.flush()
    add('c\n')
    await file.flush()
    await file.flush()
    assert.equal(disk.content, 'key,value\na\nb\nc\n')
    assert.equal(disk.writes, 2)
  })

  test('is added to by an import that goes on', async () => {
    const { disk, file, add } = setUp({
      resume: true,
      content: 'key,value\na\n',
      header: 'key,value\n',
    })
    add('b\n')
    await file.flush()
    assert.equal(disk.content, 'key,value\na\nb\n')
  })

  test('gets its header also when the first part of the import had no rejects', async () => {
    const { disk, file, add } = setUp({ resume: true, header: 'key,value\n' })
    add('b\n')
    await file.flush()
    assert.equal(disk.content, 'key,value\nb\n')
  })

  test('loses nothing to a write that failed', async () => {
    const { disk, file, add } = setUp({ content: 'old\n', header: 'h\n' })
    disk.failures = 2
    add('a\n')
    const first = file.flush()
    add('b\n')
    const second = file.flush()
    await assert.rejects(first, /the disk/)
    await assert.rejects(second, /the disk/)
    assert.equal(disk.content, 'old\n')
    add('c\n')
    await file.flush()
    assert.equal(disk.content, 'h\na\nb\nc\n')
  })
})

const PATHS: readonly (readonly [string, 'csv' | 'json' | 'jsonl', string])[] = [
  ['users.csv', 'csv', 'users.rejects.csv'],
  ['a.b/users.csv.gz', 'csv', 'a.b/users.rejects.csv'],
  ['big.json', 'json', 'big.rejects.jsonl'],
  ['big.JSON.GZ', 'json', 'big.rejects.jsonl'],
  ['a.b/users', 'csv', 'a.b/users.rejects'],
  ['users', 'json', 'users.rejects.jsonl'],
  ['a.b\\users.jsonl', 'jsonl', 'a.b\\users.rejects.jsonl'],
  ['.hidden', 'jsonl', '.hidden.rejects'],
]
for (const [path, format, expected] of PATHS) {
  test(`the rejects of ${path} go to ${expected}`, () => {
    assert.equal(rejectPath(path, format), expected)
  })
}
