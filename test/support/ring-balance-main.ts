/**
 * Prints how evenly rings of 3 to 20 members spread partitions, over many seeds.
 *
 *   npm run ring:balance -- [--seeds 100] [--partitions 1024] [--plain]
 *
 * Loads are in relation to the ideal share; `moved` is what a join moves in relation to its ideal.
 * --plain takes the tokens of a joining member as they come, instead of the best of several sets.
 * Fails when one ring of any seed is above a limit; with --plain they may be: it shows just that.
 */
import { parseArgs } from 'node:util'
import { growth } from './ring-balance.ts'
import { countValue } from './seed-run.ts'

const MEMBERS_MIN = 3
const MEMBERS_MAX = 20
const LOAD_MAX = 1.15
const MOVED_MAX = 1.05

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    partitions: { type: 'string' },
    plain: { type: 'boolean' },
  },
})
const seeds = countValue(values.seeds ?? '100', 'seeds')
const partitionCount = countValue(values.partitions ?? '1024', 'partitions')
if (seeds === 0) throw new Error('--seeds takes a number from 1, got 0')

interface Column {
  readonly load: number[]
  readonly moved: number[]
}

const columns = new Map<number, Column>()
for (let members = MEMBERS_MIN; members <= MEMBERS_MAX; members++) {
  columns.set(members, { load: [], moved: [] })
}
for (let seed = 1; seed <= seeds; seed++) {
  const chooseSalt = values.plain !== true
  for (const step of growth({ seed, membersMax: MEMBERS_MAX, partitionCount, chooseSalt })) {
    const column = columns.get(step.ring.members.length)
    column?.load.push(step.worstLoad)
    column?.moved.push(step.moved)
  }
}

let aboveCount = 0

function quantiles(numbers: readonly number[], limit: number): string {
  const sorted = numbers.toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.floor((sorted.length - 1) * part)]!.toFixed(3)
  const above = sorted.filter(value => value > limit).length
  aboveCount += above
  return [at(0.5), at(0.9), at(1), String(above)].map(text => text.padStart(7)).join('')
}

const titles = ['p50', 'p90', 'max', 'above'].map(title => title.padStart(7)).join('')
process.stdout.write(`${' '.repeat(8)}load, of at most ${LOAD_MAX}`.padEnd(42))
process.stdout.write(`moved, of at most ${MOVED_MAX}\nmembers ${titles}      ${titles}\n`)
for (const [members, { load, moved }] of columns) {
  const cells = [quantiles(load, LOAD_MAX), quantiles(moved, MOVED_MAX)]
  process.stdout.write(`${String(members).padStart(7)} ${cells.join('      ')}\n`)
}
if (aboveCount > 0 && values.plain !== true) {
  process.stderr.write(`${aboveCount} of these are above their limit\n`)
  process.exitCode = 1
}
