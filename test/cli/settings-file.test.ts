// Goal: a file of settings is read or refused as a whole, with the file, the member and what was
// probably meant.
// Method: a table of contents.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { resolveSettings } from '../../src/cli/settings.ts'
import { parseSettingsFile } from '../../src/cli/settings-file.ts'
import { UsageError } from '../../src/cli/usage-error.ts'

describe('a file of settings', () => {
  test('holds what flags may say, numbers and switches bare', () => {
    const text = '\ufeff{ "dir": "/data", "port": 7701, "memoryBudget": "1GiB", "jsonLogs": true }'
    const values = parseSettingsFile(text, 'kvd.json')
    assert.deepEqual(values, { dir: '/data', port: '7701', memoryBudget: '1GiB', jsonLogs: true })
    const resolved = resolveSettings({}, {}, { path: 'kvd.json', values })
    assert.equal(resolved.values.port, 7701)
    assert.equal(resolved.values.memoryBudget, 1024 ** 3)
    assert.equal(resolved.sources.memoryBudget, 'file')
    assert.equal(resolved.sources.host, 'default')
  })

  test('may be empty', () => assert.deepEqual(parseSettingsFile('{}', 'x'), {}))

  for (const [text, message] of [
    ['', /^x\.json is not JSON: /],
    ['{ "port": 1, }', /^x\.json is not JSON: /],
    ['[1]', /^x\.json must hold one JSON object$/],
    ['null', /^x\.json must hold one JSON object$/],
    ['"port"', /^x\.json must hold one JSON object$/],
    ['{"prot": 1}', /^x\.json: 'prot' is no setting; did you mean 'port'\?$/],
    ['{"memory-budget": 1}', /^x\.json: 'memory-budget' is no setting; .*'memoryBudget'/],
    ['{"frobnicate": 1}', /^x\.json: 'frobnicate' is no setting$/],
    ['{"__proto__": 1}', /^x\.json: '__proto__' is no setting$/],
    ['{"port": null}', /^x\.json: port must be a string, a number, true or false$/],
    ['{"dir": ["a"]}', /^x\.json: dir must be a string/],
  ] as const) {
    test(`${text} is refused`, () => {
      assert.throws(
        () => parseSettingsFile(text, 'x.json'),
        (error: unknown) => error instanceof UsageError && message.test(error.message),
      )
    })
  }

  test('is named when one of its values is wrong', () => {
    const values = parseSettingsFile('{"port": 70000, "syncInterval": 5}', 'x.json')
    assert.throws(() => resolveSettings({}, {}, { path: 'x.json', values }), {
      message: "x.json: port '70000' is not a whole number from 0 to 65535",
    })
    assert.throws(() => resolveSettings({ port: '1' }, {}, { path: 'x.json', values }), {
      message: /^x\.json: syncInterval '5' is not a duration/,
    })
  })
})
