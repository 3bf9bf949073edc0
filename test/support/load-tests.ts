/**
 * Many test files in one process, for `npm test`: the files of a folder, or every n-th of them.
 * Every source that a test leads to is up to nine tenths of the time of a small test file; together
 * they pay for it once. For the same reason `npm test` has it all compiled before it starts: from
 * the sources each process and each thread that a test starts would have a loader of TypeScript of
 * its own, which takes it a second. All files are loaded before the first test starts, so that no
 * test shares the event loop with the loading.
 *
 * Each test file runs alone as well, from its source: `node --import tsx --test
 * test/engine/db.test.ts`. Batches run in the order of their names, two at a time: those that take
 * longest have a number and come first, so that none of them runs alone in the end. What needs a
 * process of its own is in OWN_PROCESS, and has a batch to itself.
 */
import { readdirSync } from 'node:fs'
import { moduleUrl, projectUrl } from './project-root.ts'
import { checkTestRunner, importTestRunner } from './test-runner.ts'

const test = await importTestRunner()

/** Path below test/, and why no other test may run in its process. */
export const OWN_PROCESS: Readonly<Record<string, string>> = {
  'engine/scan-shapes.test.ts':
    'it sees the shapes of objects change, so it must be their first user',
  'simulation/cluster.test.ts': 'it sets flags of V8 for the whole process',
}

/** Paths below test/: in `folder`, from the `part`-th on every `of`-th. */
export function batchOf(folder: string, part = 1, of = 1): string[] {
  return readdirSync(projectUrl(`test/${folder}/`))
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
  checkTestRunner()
  await loading
}

async function load(paths: readonly string[]): Promise<void> {
  for (const path of paths) await import(moduleUrl(`test/${path}`).href)
}
