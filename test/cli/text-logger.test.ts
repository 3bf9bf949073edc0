// Goal: a log line for people is one line, shows level and fields, and nothing that a client sent
// can forge another.
// Method: lines written under a fixed time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createStyle, PLAIN_STYLE } from '../../src/cli/style.ts'
import { textLogger } from '../../src/cli/text-logger.ts'
import { ClosedError } from '../../src/errors.ts'
import { LOG_LEVELS, type LogLevel } from '../../src/logger.ts'

function linesOf(level: LogLevel, style = PLAIN_STYLE) {
  const lines: string[] = []
  const wallMs = () => Date.UTC(2026, 0, 2, 3, 4, 5, 678)
  const logger = textLogger({ write: line => lines.push(line), wallMs, level, style })
  return { lines, logger }
}

test('shows time, level, message and fields', () => {
  const { lines, logger } = linesOf('info')
  logger.warn('it happened', { count: 3, name: 'two words', nothing: undefined, deep: { a: [1] } })
  const fields = 'count=3  name="two words"  deep={"a":[1]}'
  assert.deepEqual(lines, [`03:04:05.678 warn  it happened  ${fields}\n`])
})

test('shows errors by code and message, on one line', () => {
  const { lines, logger } = linesOf('info')
  logger.error('failed', { error: new ClosedError('a\nb'), other: new Error('plain') })
  assert.deepEqual(lines, ['03:04:05.678 error failed  error="KV_CLOSED a\\nb"  other=plain\n'])
})

test('control characters of fields do not reach the terminal', () => {
  const { lines, logger } = linesOf('info')
  logger.info('client', { name: '\u001b[2J\nforged' })
  assert.deepEqual(lines, ['03:04:05.678 info  client  name="\\u001b[2J\\nforged"\n'])
})

test('keeps to its level', () => {
  for (const level of LOG_LEVELS) {
    const { lines, logger } = linesOf(level)
    for (const name of ['debug', 'info', 'warn', 'error'] as const) logger[name]('x')
    assert.equal(lines.length, 4 - LOG_LEVELS.indexOf(level))
  }
})

test('colours when it is told to', () => {
  const { lines, logger } = linesOf('info', createStyle(true))
  logger.error('x')
  assert.ok(lines[0]?.includes('\u001b['))
})
