// Goal: colours go where people look, and NO_COLOR, FORCE_COLOR and TERM are obeyed.
// Method: a table of environments; every style with and without colours.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { colourWanted, createStyle } from '../../src/cli/style.ts'

test('colours are wanted on terminals, unless the environment says otherwise', () => {
  for (const [isTerminal, env, wanted] of [
    [true, {}, true],
    [false, {}, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: 'false' }, false],
    [true, { NO_COLOR: '' }, true],
    [true, { TERM: 'dumb' }, false],
    [true, { TERM: 'xterm' }, true],
    [false, { FORCE_COLOR: '1' }, true],
    [false, { FORCE_COLOR: '' }, false],
    [true, { FORCE_COLOR: '0' }, false],
    [true, { FORCE_COLOR: 'false' }, false],
    [true, { FORCE_COLOR: '3', NO_COLOR: '1' }, true],
  ] as const) {
    assert.equal(colourWanted(isTerminal, env), wanted, JSON.stringify([isTerminal, env]))
  }
})

test('a style adds colours and nothing else, or nothing at all', () => {
  const [coloured, plain] = [createStyle(true), createStyle(false)]
  for (const name of ['bold', 'dim', 'key', 'good', 'warn', 'bad'] as const) {
    assert.equal(plain[name]('text'), 'text')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what this is about
    assert.match(coloured[name]('text'), /^\u001b\[\d+mtext\u001b\[\d+m$/)
  }
})
