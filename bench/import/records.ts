/**
 * Records to import: a file that the user has, or generated ones of the same shape as a package
 * registry's index: short names in no order, each with the address of a repository.
 *
 *   JSON lines: {"key": "<name>", "value": "<address>"} a line
 *   JSON:       {"<name>": "<address>" or null, …}; null means there is nothing to store
 */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { type Random, seededRandom } from '../../src/random.ts'
import { SEED } from '../workloads.ts'

export interface ImportRecord {
  readonly key: string
  readonly value: string
}

const SYLLABLES = 'ba co de fi go hu ja ke li mo nu pa ri so tu ve wa xi yo ze'.split(' ')
const LINES_PER_WRITE = 10_000
const SCOPED_SHARE = 0.2
/** Strings of a megabyte are outside of the heap, where they wait long for their collection. */
const READ_SIZE = 64 * 1024

function word(random: Random): string {
  let text = ''
  for (let count = 2 + random.below(3); count > 0; count--) text += SYLLABLES[random.below(20)]
  return text
}

/** Writes `count` records with distinct keys as JSON lines. */
export function generateRecords(path: string, count: number): void {
  const random = seededRandom(SEED)
  const fd = openSync(path, 'w')
  let lines = ''
  for (let index = 1; index <= count; index++) {
    const [owner, name] = [word(random), `${word(random)}-${index.toString(36)}`]
    const key = random.next() < SCOPED_SHARE ? `@${owner}/${name}` : name
    const value = `https://github.com/${owner}/${name}`
    lines += `${JSON.stringify({ key, value })}\n`
    if (index % LINES_PER_WRITE === 0 || index === count) {
      writeSync(fd, lines)
      lines = ''
    }
  }
  closeSync(fd)
}

/** The records of a file; its name says which of the two forms it has. */
export function readRecords(path: string): Generator<ImportRecord> {
  return path.endsWith('.json') ? readObject(path) : readLines(path)
}

function* readObject(path: string): Generator<ImportRecord> {
  const parsed = JSON.parse(readFileSync(path, 'utf8')) as Record<string, string | null>
  for (const [key, value] of Object.entries(parsed)) if (value !== null) yield { key, value }
}

/** Synchronous and in pieces: quicker than a stream, and the whole file never is in memory. */
function* readLines(path: string): Generator<ImportRecord> {
  const fd = openSync(path, 'r')
  const decoder = new TextDecoder()
  const piece = Buffer.allocUnsafeSlow(READ_SIZE)
  let rest = ''
  for (;;) {
    const size = readSync(fd, piece)
    const lines = (rest + decoder.decode(piece.subarray(0, size), { stream: size > 0 })).split('\n')
    rest = size > 0 ? (lines.pop() ?? '') : ''
    for (const line of lines) if (line !== '') yield JSON.parse(line) as ImportRecord
    if (size === 0) break
  }
  closeSync(fd)
}
