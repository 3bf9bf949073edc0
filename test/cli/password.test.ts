// Goal: kvcli takes the password from where nobody else can read it, gives it to the server alone,
// and shows it nowhere.
// Method: kvcli in this process; what it connects with, prints and refuses.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AuthenticationError } from '../../src/errors.ts'
import { CliHarness, runCli } from '../support/cli-harness.ts'
import { MemoryCliFiles } from '../support/memory-cli-files.ts'

describe('the password', () => {
  for (const [name, env, files] of [
    ['the environment', { DURAMEN_PASSWORD: 'sesame', DURAMEN_URL: 'kv://ali@h:1' }, {}],
    ['a file', { DURAMEN_PASSWORD_FILE: '/p', DURAMEN_URL: 'kv://ali@h:1' }, { '/p': 'sesame\n' }],
    ['the url in the environment', { DURAMEN_URL: 'kv://ali:sesame@h:1' }, {}],
  ] as const) {
    test(`comes from ${name}`, async () => {
      const run = await runCli('ping', { env, files: new MemoryCliFiles(files) })
      assert.equal(run.code, 0)
      const [connected] = run.connects
      assert.equal(connected?.password, 'sesame')
      assert.equal(connected?.url, 'kv://ali@h:1')
      assert.doesNotMatch(run.out + run.err, /sesame/)
      assert.match(run.out, /PONG from kv:\/\/ali@h:1 /)
    })
  }

  test('is not taken from an argument, nor repeated', async () => {
    const run = await runCli('ping --url kv://ali:sesame@h:1')
    assert.equal(run.code, 2)
    assert.match(run.err, /can be read by other users.*DURAMEN_PASSWORD/)
    assert.doesNotMatch(run.err, /sesame/)
    assert.equal(run.connects.length, 0)
  })

  test('that is wrong is told, with where it comes from', async () => {
    const harness = new CliHarness({ argv: 'get k' })
    harness.store.failNext = new AuthenticationError('the user or the password is wrong')
    assert.equal(await harness.run(), 1)
    assert.match(harness.err, /wrong \[KV_AUTHENTICATION\]\n {2}-> .*DURAMEN_PASSWORD/)
  })
})
