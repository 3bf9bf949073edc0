// Goal: the runner of `npm test`, which does not follow promises, loses neither tests nor errors.
// Method: small runs in processes of their own.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { LOADER_ARGUMENTS, moduleUrl } from '../support/project-root.ts'

const RUNNER = moduleUrl('test/support/test-runner.ts').href

/** What a run of these tests comes to. `NODE_TEST_CONTEXT` would have it report to our runner. */
function run(tests: string): { readonly status: number | null; readonly output: string } {
  const script = `
    const { checkTestRunner, importTestRunner } = await import(${JSON.stringify(RUNNER)})
    await importTestRunner()
    const { describe, test } = await import('node:test')
    ${tests}
    checkTestRunner()`
  const options = ['--test-reporter=tap', '--input-type=module', '--eval', script]
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...LOADER_ARGUMENTS, ...options],
    {
      encoding: 'utf8',
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    },
  )
  return { status, output: stdout + stderr }
}

test('tests are in their suites, and each of them counts', () => {
  const { status, output } = run(`
    describe('first', () => {
      describe('inner', () => test('one', () => undefined))
      test('two', async () => await Promise.resolve())
    })
    describe('second', () => test('three', () => { throw new Error('on purpose') }))`)
  assert.equal(status, 1, output)
  const results = output.match(/^ *(?:not )?ok \d+ - \w+/gm)
  assert.deepEqual(results, [
    '        ok 1 - one',
    '    ok 1 - inner',
    '    ok 2 - two',
    'ok 1 - first',
    '    not ok 1 - three',
    'not ok 2 - second',
  ])
})

test('an error that nobody caught fails the run', () => {
  const waits = 'await new Promise(resolve => setTimeout(resolve, 60_000))'
  for (const lost of [
    `void Promise.reject(new Error('lost'))`,
    `setImmediate(() => { throw new Error('lost') })`,
  ]) {
    const { status, output } = run(`test('loses an error', async () => { ${lost}; ${waits} })`)
    assert.equal(status, 1, output)
    assert.match(output, /^nobody caught Error: lost\n {4}at /m)
  }
})
