// Goal: debug tells of the files of a closed database what is in them, whether they are sound, and
// makes a damaged one open again; for people and for programs, with exit codes that scripts test.
// Method: the whole program over a small database on the real disk, sound and damaged.
import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { renderBackup, renderVerify } from '../../src/cli/debug-command.ts'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { PLAIN_STYLE } from '../../src/cli/style.ts'
import { systemClock } from '../../src/clock.ts'
import { open, type VerifyReport } from '../../src/engine/index.ts'
import { CorruptionError } from '../../src/errors.ts'
import { CapturedOutput, CliHarness } from '../support/cli-harness.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

async function debug(argv: string) {
  const harness = new CliHarness({ argv: `debug ${argv}` })
  return Object.assign(harness, { code: await harness.run() })
}

/** A copy of it. */
function database(): string {
  const directory = join(temporaryDirectory({ after }), 'db')
  cpSync(original, directory, { recursive: true })
  return directory
}

/** 60 keys in tables, and some in the log. */
async function makeDatabase(directory: string): Promise<void> {
  for (let life = 0; life < 2; life++) {
    const db = await open(directory, { durability: 'none' })
    for (let index = 0; index < 30; index++) await db.put(`key-${life}-${index}`, `value ${index}`)
    await db.deleteRange({ gte: 'key-0-1', lt: 'key-0-12' })
    if (life === 1) await db.compact()
    await db.put('late', 'in the log', { ttlMs: 1e12 })
    await db.close()
  }
}

function pathOf(directory: string, pattern: RegExp): string {
  return join(directory, readdirSync(directory).find(name => pattern.test(name))!)
}

function spoil(path: string, offset: number): void {
  const bytes = readFileSync(path)
  bytes[offset]! ^= 0xff
  writeFileSync(path, bytes)
}

const original = temporaryDirectory({ after })
await makeDatabase(original)

describe('debug', () => {
  test('verifies, repairs and verifies again', async () => {
    const directory = database()
    const sound = await debug(`verify ${directory}`)
    assert.match(sound.out, /^sound: .*\n {2}looked at \d+ tables?, \d+ blocks?/)
    assert.equal(sound.code, ExitCode.ok)
    const idle = await debug(`repair ${directory}`)
    assert.match(idle.out, /nothing was changed/)
    assert.equal(idle.code, ExitCode.ok)

    const table = pathOf(directory, /\.sst$/)
    spoil(table, 20)
    const damaged = await debug(`verify ${directory} --json`)
    assert.equal(damaged.code, ExitCode.failed)
    const [report] = damaged.json as [{ ok: boolean; findings: { path: string; what: string }[] }]
    assert.equal(report.ok, false)
    assert.equal(report.findings[0]!.path, table)
    const told = await debug(`verify ${directory}`)
    assert.match(told.out, /damaged: [\s\S]*damage .*\.sst@0: block checksum mismatch \(expected/)
    assert.match(told.out, /kvcli debug repair/)

    const repaired = await debug(`repair ${directory}`)
    assert.match(repaired.out, /^repaired: [\s\S]*originals: \d files in .*lost\/1\n/)
    assert.equal(repaired.code, ExitCode.ok)
    assert.equal((await debug(`verify ${directory}`)).code, ExitCode.ok)
    const db = await open(directory, { createIfMissing: false })
    assert.equal(Buffer.from((await db.get('late'))!).toString(), 'in the log')
    await db.close()
  })

  test('takes a cold directory that COLD does not name any more', async () => {
    const [directory, coldDirectory] = [
      temporaryDirectory({ after }),
      temporaryDirectory({ after }),
    ]
    const db = await open(directory, { coldDirectory, durability: 'none' })
    for (let index = 0; index < 30; index++) await db.put(`key-${index}`, `value ${index}`)
    await db.compact()
    await db.close()
    rmSync(join(directory, 'COLD'))
    const refused = await debug(`repair ${directory}`)
    assert.notEqual(refused.code, ExitCode.ok)
    assert.match(refused.err, /--cold-directory/)
    const seen = await debug(`verify ${directory} --cold-directory ${coldDirectory}`)
    assert.match(seen.out, /1 finding\n[\s\S]*COLD is missing/)
    const repaired = await debug(`repair ${directory} --cold-directory ${coldDirectory}`)
    assert.equal(repaired.code, ExitCode.ok)
    assert.equal((await debug(`verify ${directory}`)).code, ExitCode.ok)
  })

  test('is what an error about damage says to run', async () => {
    const directory = database()
    const path = pathOf(directory, /\.sst$/)
    spoil(path, 20)
    const advice = new CorruptionError({ path, offset: 0 }, 'x').message
    const advised = /examine it with: kvcli debug (verify .*)$/.exec(advice)?.[1]
    assert.ok(advised !== undefined)
    assert.equal((await debug(advised)).code, ExitCode.failed)
  })

  test('dumps a directory and every kind of file', async () => {
    const directory = database()
    const files = await debug(`dump ${directory}`)
    assert.match(files.out, /CURRENT .*\n/)
    assert.match(files.out, /\.sst +table/)
    assert.match((await debug(`dump ${directory}/CURRENT`)).out, /in force: MANIFEST-\d{6}/)

    const manifest = await debug(`dump --json ${pathOf(directory, /MANIFEST/)}`)
    const edits = manifest.json as { type: string; added?: { table: { smallestKey: string } }[] }[]
    assert.equal(edits[0]!.type, 'manifest')
    assert.match(edits.find(({ added }) => added)!.added![0]!.table.smallestKey, /^key-/)
    assert.match((await debug(`dump ${pathOf(directory, /MANIFEST/)}`)).out, /\+ level \d table/)

    const table = await debug(`dump --entries ${pathOf(directory, /\.sst$/)}`)
    assert.match(table.out, /table \d+\n {2}keys key-0-0 \.\. /)
    assert.match(table.out, /#\d+ put {2}key-0-0 {2}"value 0"\n/)
    const limited = await debug(`dump --entries --limit 3 ${pathOf(directory, /\.sst$/)} --json`)
    assert.equal(limited.json.length, 3)

    const log = await debug(`dump --entries --json ${pathOf(directory, /\.wal$/)}`)
    const items = log.json as { type: string; kind?: string; key?: string; expiryMs?: number }[]
    const late = items.find(({ key }) => key === 'late')!
    assert.equal(late.kind, 'putExpiring')
    assert.ok(late.expiryMs! > systemClock().wallMs())
    assert.equal(log.code, ExitCode.ok)
  })

  test('dumps on behind damage, and says so with its exit code', async () => {
    const directory = database()
    const table = pathOf(directory, /\.sst$/)
    spoil(table, 20)
    const run = await debug(`dump --json ${table}`)
    assert.equal(run.code, ExitCode.failed)
    assert.deepEqual((run.json as { type: string }[]).map(({ type }) => type).slice(0, 2), [
      'table',
      'damage',
    ])
    const wal = pathOf(directory, /\.wal$/)
    // Of the last frame, before the zeros behind it.
    spoil(
      wal,
      readFileSync(wal).findLastIndex(byte => byte !== 0),
    )
    assert.match((await debug(`dump ${wal}`)).out, /damage .*checksum/)
  })

  test('backs up and restores', async () => {
    const directory = database()
    const backups = join(temporaryDirectory({ after }), 'backups')
    const target = join(temporaryDirectory({ after }), 'restored')
    const first = await debug(`backup ${directory} ${backups}`)
    assert.match(first.out, /^backup 1 in .*backups: .* were copied\n$/)
    assert.match((await debug(`backup ${directory} ${backups} --keep 2`)).out, /^backup 2 .* 0 B /)
    assert.equal((await debug(`verify ${backups}`)).code, ExitCode.ok)
    const restored = await debug(`restore ${backups} ${target} --number 1 --json`)
    assert.equal((restored.json as { backup: number }[])[0]!.backup, 1)
    assert.match((await debug(`restore ${backups} ${target}`)).err, /is not empty/)
    const db = await open(target, { createIfMissing: false })
    assert.equal(Buffer.from((await db.get('late'))!).toString(), 'in the log')
    await db.close()
    spoil(pathOf(backups, /\.sst$/), 30)
    const refused = await debug(`restore ${backups} ${target}2`)
    assert.match(refused.err, /\.sst@0: the table is damaged/)
    assert.equal(refused.code, ExitCode.failed)
    assert.equal((await debug(`restore ${backups}`)).code, ExitCode.usage)
  })

  test('says that a backup is made whose forerunners could not be removed', async () => {
    const path = '/backups/BACKUP-000001'
    const what = 'cannot be removed: EACCES: permission denied; check the permissions'
    const finding = { severity: 'notice', path, offset: 0, what } as const
    const counts = { sequence: 9, tableCount: 2, tableBytes: 2048, copiedBytes: 0 }
    const result = { directory: '/backups', backup: 2, ...counts, removedBackups: 0 }
    const made = renderBackup({ ...result, findings: [finding] }, PLAIN_STYLE)
    assert.match(made, /^backup 2 in \/backups: .* it is whole, but not all .*\n.*000001.*EACCES/)
    const harness = new CliHarness({ argv: 'debug backup /db /backups' })
    Object.assign(harness.io.databaseFiles, {
      backup: async () => ({ ...result, findings: [finding] }),
    })
    assert.equal(await harness.run(), ExitCode.failed)
    assert.match(harness.out, /^backup 2 in/)
  })

  test('says what is wrong with what it was asked', async () => {
    const directory = database()
    assert.equal((await debug(`explode ${directory}`)).code, ExitCode.usage)
    assert.match((await debug(`vefiry ${directory}`)).err, /use verify, .*do you mean verify\?/)
    assert.equal((await debug(`verify ${directory}/none`)).code, ExitCode.failed)
    assert.match((await debug(`repair ${directory}/none`)).err, /there is no directory/)
    assert.equal((await debug('dump /etc/hostname')).code, ExitCode.usage)
    const db = await open(directory)
    const refused = await debug(`repair ${directory}`)
    assert.match(refused.err, /KV_LOCKED/)
    assert.match(refused.err, /stop the other process/)
    await db.close()
  })

  test('shows a bar on a terminal', async () => {
    const directory = database()
    const stderr = new CapturedOutput(new CapturedOutput())
    const harness = new CliHarness({ argv: `debug verify ${directory}`, stderr })
    assert.equal(await harness.run(), ExitCode.ok)
    assert.match(harness.err, /verifying/)
  })
})

test('keys that only a server has are shown as its users know them', () => {
  const what = 'a block of keys from behind 0x00c5666f6f to 0x0100ff0102 and "plain" is lost'
  const finding = { severity: 'damage', path: 'x.sst', offset: 7, what } as const
  const report = {
    ...{ ok: false, damages: 1, findings: [finding], findingsOmitted: 0, bytes: 1 },
    ...{ tables: 1, blocks: 1, entries: 1, walSegments: 1, walEntries: 1 },
  }
  const text = renderVerify('./data', report as unknown as VerifyReport, PLAIN_STYLE)
  assert.match(
    text,
    /behind 0x00c5666f6f \(of a server: "foo" in partition 197\) to 0x0100ff0102 and/,
  )
})
