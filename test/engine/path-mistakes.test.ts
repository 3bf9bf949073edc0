// Goal: whoever gives a path that cannot be used is told what is wrong with it and what to do, by
// every call that takes one, and never to check a disk that is all right.
// Method: a real directory with everything that can stand in the way, given to every call.
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import {
  destroy,
  dumpFile,
  open,
  repairDirectory,
  restoreBackup,
  verifyDirectory,
} from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

/** What is in the way, and what the message must say of it. */
const PLACES = {
  'file/in': /is a file|path of a directory|exists already|check the path/,
  file: /is a file|path of a directory|exists already|check the path|a file stands|no file of a/,
  'loop/in': /links lead in a circle/,
  loop: /links lead in a circle/,
  [`${'n'.repeat(300)}`]: /choose a shorter path/,
} as const

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
    verifyDirectory: (path: string) => verifyDirectory(path),
    repairDirectory: (path: string) => repairDirectory(path),
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
    const db = await open(join(root, 'db'))
    await db.put('key', 'value')
    await db.backup(join(root, 'backups'))
    let count = 0
    const copies = {
      coldDirectory: (path: string) => open(join(root, `new ${count++}`), { coldDirectory: path }),
      checkpoint: (path: string) => db.checkpoint(path),
      backup: (path: string) => db.backup(path),
      restore: (path: string) => restoreBackup(join(root, 'backups'), path),
      'restore of a backup': (path: string) => restoreBackup(path, join(root, `new ${count++}`)),
    }
    for (const call of Object.values(copies)) {
      for (const [place, text] of Object.entries(PLACES))
        await expectAdvice(call, root, place, text)
    }
    await db.close()
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
    await assert.rejects(open(join(root, 'odd')), advice)
    await assert.rejects(verifyDirectory(join(root, 'odd')), advice)
    await assert.rejects(destroy(join(root, 'odd')), advice)
  })
})

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
