/** Directories on the real disk that go away with the test that made them. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What `node:test` offers to run code after a test; the module's own `after` serves a suite. */
export interface Cleanup {
  after(remove: () => void): void
}

/**
 * A new, empty directory, removed with all it holds when the test or suite is over:
 * `temporaryDirectory(t)` in a test, `temporaryDirectory({ after })` in a describe.
 */
export function temporaryDirectory(cleanup: Cleanup): string {
  const path = mkdtempSync(join(tmpdir(), 'duramen-test-'))
  cleanup.after(() => rmSync(path, { recursive: true, force: true, maxRetries: 3 }))
  return path
}

/** A new, empty directory in `parent`, which is made if need be; the caller removes it. */
export function newDirectory(name: string, parent = tmpdir()): string {
  mkdirSync(parent, { recursive: true })
  return mkdtempSync(join(parent, `duramen-${name}-`))
}
