// Goal: without the package abstract-level, duramen/level says what to install, and a package that
// is there but broken is not called missing.
// Method: a process of its own, in which the package cannot be resolved, or fails to load.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { LOADER_ARGUMENTS, moduleUrl } from '../support/project-root.ts'

const LEVEL = moduleUrl('src/level.ts').href

/** What importing duramen/level gives where requiring abstract-level does what `body` says. */
function importLevel(body: string): string {
  const script = `
    import Module from 'node:module'
    const load = Module._load
    Module._load = function (name, ...rest) {
      if (name === 'abstract-level') { ${body} }
      return load.call(this, name, ...rest)
    }
    import(${JSON.stringify(LEVEL)}).then(
      module => console.log('loaded', typeof module.DuramenLevel),
      error => console.log(error.code, error.message),
    )`
  const argv = [...LOADER_ARGUMENTS, '--input-type=module', '--eval', script]
  const { stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' })
  assert.equal(stderr, '')
  return stdout.trim()
}

const MISSING = "Object.assign(new Error('Cannot find module NAME'), { code: 'MODULE_NOT_FOUND' })"

test('a package that is not installed is told, with what to do', () => {
  assert.equal(
    importLevel(`throw ${MISSING.replace('NAME', "\\'abstract-level\\'")}`),
    'KV_NOT_FOUND duramen/level needs the package abstract-level, which is not installed: ' +
      'npm install abstract-level',
  )
})

test('what the package itself lacks is not called the package', () => {
  const output = importLevel(`throw ${MISSING.replace('NAME', "\\'level-supports\\'")}`)
  assert.equal(output, "MODULE_NOT_FOUND Cannot find module 'level-supports'")
})

test('with the package it loads', () => {
  assert.equal(importLevel(''), 'loaded function')
})
