/**
 * Many test files in one process, for `npm test`: the files of a folder, or every n-th of them.
 * A process with a loader of TypeScript, and every source that a test leads to, is up to nine
 * tenths of the time of a small test file; together they pay for it once. All files are loaded
 * before the first test starts, so that no test shares the event loop with the loader.
 *
 * Each test file runs alone as well: `node --import tsx --test test/engine/db.test.ts`. What
 * needs a process of its own is in OWN_PROCESS, and has a batch to itself.
 */
import { readdirSync } from 'node:fs'
import { test } from 'node:test'

const TESTS = new URL('../', import.meta.url)

/** Path below test/, and why no other test may run in its process. */
export const OWN_PROCESS: Readonly<Record<string, string>> = {
  'engine/scan-shapes.test.ts':
    'it sees the shapes of objects change, so it must be their first user',
  'simulation/cluster.test.ts': 'it sets flags of V8 for the whole process',
}

/** Paths below test/: in `folder`, from the `part`-th on every `of`-th. */
export function batchOf(folder: string, part = 1, of = 1): string[] {
  return readdirSync(new URL(`${folder}/`, TESTS))
    .filter(name => name.endsWith('.test.ts'))
    .map(name => `${folder}/${name}`)
    .filter(path => !Object.hasOwn(OWN_PROCESS, path))
    .sort()
    .filter((_, index) => index % of === part - 1)
}

/** Loads the test files at the paths below test/. */
export async function loadTests(...paths: readonly string[]): Promise<void> {
  const loading = load(paths)
  // Tests of a process run one after another: this one holds the others back.
  test(`${paths.length} test files load`, () => loading)
  await loading
}

async function load(paths: readonly string[]): Promise<void> {
  for (const path of paths) await import(new URL(path, TESTS).href)
}
