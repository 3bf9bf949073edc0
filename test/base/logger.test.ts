// Goal: one line of JSON an event, whatever the fields hold; logging never fails its caller.
// Method: lines are collected and parsed again.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { NotFoundError } from '../../src/errors.ts'
import { jsonLogger, LOG_LEVELS, type LogFields, silentLogger } from '../../src/logger.ts'

function collect(level?: (typeof LOG_LEVELS)[number]) {
  const lines: string[] = []
  const logger = jsonLogger(
    line => lines.push(line),
    () => 0,
    level,
  )
  return { logger, lines }
}

function logged(fields: LogFields): Record<string, unknown> {
  const { logger, lines } = collect()
  logger.info('text', fields)
  assert.equal(lines.length, 1)
  assert.ok(lines[0]!.endsWith('\n') && lines[0]!.indexOf('\n') === lines[0]!.length - 1)
  return JSON.parse(lines[0]!) as Record<string, unknown>
}

describe('json logger', () => {
  test('writes time, level, message and fields', () => {
    const { logger, lines } = collect()
    logger.warn('slow disk', { path: 'a\nb', elapsedMs: 12 })
    assert.deepEqual(lines, [
      '{"time":"1970-01-01T00:00:00.000Z","level":"warn","message":"slow disk",' +
        '"path":"a\\nb","elapsedMs":12}\n',
    ])
  })

  test('drops what is below its level', () => {
    for (const [threshold, level] of LOG_LEVELS.entries()) {
      const { logger, lines } = collect(level)
      for (const name of LOG_LEVELS) if (name !== 'silent') logger[name](name)
      const expected = LOG_LEVELS.slice(threshold).filter(name => name !== 'silent')
      assert.deepEqual(
        lines.map(line => JSON.parse(line).level),
        expected,
      )
    }
    const { logger, lines } = collect()
    logger.debug('text')
    assert.equal(lines.length, 0, 'info is the default')
  })

  test('spells errors out, with their causes', () => {
    const error = new NotFoundError('no such directory', { cause: new Error('ENOENT') })
    assert.deepEqual(logged({ error })['error'], {
      name: 'NotFoundError',
      code: 'KV_NOT_FOUND',
      message: 'no such directory',
      cause: { name: 'Error', message: 'ENOENT' },
    })
  })

  test('survives fields that JSON cannot hold', () => {
    assert.equal(logged({ size: 10n })['size'], '10')
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    assert.equal(logged({ circular })['fields'], 'circular')
    const error = new Error('text')
    error.cause = error
    assert.equal(logged({ error })['message'], 'text')
    assert.equal(logged({ nothing: undefined, call: () => 1 })['message'], 'text')
  })
})

test('the silent logger takes everything and says nothing', () => {
  for (const name of LOG_LEVELS) if (name !== 'silent') silentLogger[name]('text', { a: 1 })
})
