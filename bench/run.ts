/**
 * `npm run bench`: the whole speed table of DESIGN.md, embedded and over TCP, one program after
 * the other, so that neither disturbs the other.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PROGRAMS } from './built.ts'
import { note, print } from './report.ts'

const HELP = `npm run bench -- [options]

  --full            as many rounds as a figure to quote needs: about half an hour
                    (default: a quick run of under ten minutes)
  --keys <count>    100k, 1m (default)
  --dir <directory> where the data goes (default: the system's temporary directory)
  --markdown        replaces the two tables in README.md

The parts alone have more options: bench:compare, bench:server, bench:load, bench:import,
bench:micro, each with --help.
`

const { values } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    keys: { type: 'string', default: '1m' },
    dir: { type: 'string' },
    markdown: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

function run(): void {
  const args = ['--keys', values.keys]
  if (!values.full) args.push('--quick')
  if (values.dir !== undefined) args.push('--dir', values.dir)
  if (values.markdown) args.push('--markdown')
  const startMs = performance.now()
  for (const program of ['compare.js', 'server.js']) {
    const command = [join(PROGRAMS, program), ...args]
    const { status } = spawnSync(process.execPath, command, { stdio: 'inherit' })
    if (status !== 0) process.exitCode = 1
    print('')
  }
  note(`took ${Math.round((performance.now() - startMs) / 1000)} s`)
}

if (values.help) print(HELP)
else run()
