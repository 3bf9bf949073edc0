/**
 * `npm run bench:micro`: every *.bench.ts of this directory, one after another, each in a process
 * of its own. They measure one structure each and run from the sources; names narrow it down:
 * `npm run bench:micro -- skiplist wal`; options behind the names are passed on.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { REPOSITORY } from './built.ts'
import { describeMachine, machineLines } from './machine.ts'
import { print } from './report.ts'
import { SEED } from './workloads.ts'

const SUFFIX = '.bench.ts'
const given = process.argv.slice(2)
const optionsStart = given.findIndex(argument => argument.startsWith('--'))
const wanted = optionsStart < 0 ? given : given.slice(0, optionsStart)
/** For the microbenchmarks themselves. */
const options = optionsStart < 0 ? [] : given.slice(optionsStart)
const names = readdirSync(join(REPOSITORY, 'bench'))
  .filter(name => name.endsWith(SUFFIX))
  .map(name => name.slice(0, -SUFFIX.length))
  .filter(name => wanted.length === 0 || wanted.some(part => name.includes(part)))
  .sort()

print(machineLines(describeMachine(tmpdir()), SEED).join('\n'))
for (const name of names) {
  print(`\n${name}`)
  const file = join(REPOSITORY, 'bench', `${name}${SUFFIX}`)
  const args = ['--import', 'tsx', '--expose-gc', file, ...options]
  const { status } = spawnSync(process.execPath, args, { cwd: REPOSITORY, stdio: 'inherit' })
  if (status !== 0) {
    print(`${name} failed with code ${status}`)
    process.exitCode = 1
  }
}
