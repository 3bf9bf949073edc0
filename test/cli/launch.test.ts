// Goal: the programs of a checkout can be linked before there is a build (npx links once, and for
// good leaves out what is missing), say then what to run, and start it once it is there.
// Method: the committed launchers in a directory without a build, and with one that echoes.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ROOT } from '../support/project-root.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

interface Manifest {
  readonly bin: Readonly<Record<string, string>>
  readonly files: readonly string[]
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest

/** Prints its arguments, as the built program would begin. */
const ECHO = 'process.stdout.write(JSON.stringify(process.argv.slice(2)))'

describe('a checkout', () => {
  for (const [program, path] of Object.entries(manifest.bin)) {
    test(`${program} is there before a build, says what is missing, and starts once it is built`, t => {
      const checkout = temporaryDirectory(t)
      cpSync(join(ROOT, 'bin'), join(checkout, 'bin'), { recursive: true })
      const run = () =>
        spawnSync(process.execPath, [join(checkout, path), 'get', 'a b'], { encoding: 'utf8' })

      const unbuilt = run()
      assert.equal(unbuilt.status, 1)
      assert.ok(unbuilt.stderr.startsWith(`${program}: not built yet: there is no ${checkout}`))
      assert.match(unbuilt.stderr, /\n {2}-> run 'npm ci && npm run build' in .*\n$/)

      const built = join(checkout, 'dist', 'cli')
      mkdirSync(built, { recursive: true })
      writeFileSync(join(built, `${program}.cjs`), ECHO)
      assert.match(run().stderr, new RegExp(`there is no .*${program}-main\\.js\n`))

      writeFileSync(join(built, `${program}-main.js`), '')
      const { status, stdout, stderr } = run()
      assert.deepEqual([status, stdout, stderr], [0, '["get","a b"]', ''])
    })

    test(`${program} may be executed where npm links it without asking`, t => {
      if (process.platform === 'win32') return t.skip('has no such permission')
      assert.equal(statSync(join(ROOT, path)).mode & 0o111, 0o111)
    })
  }

  test('the launchers are published', () => {
    assert.ok(manifest.files.includes('bin'))
  })
})
