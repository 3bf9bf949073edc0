/** scan and count: ranges of keys. */
import type { CancelTimer } from '../clock.ts'
import type { Entry, KeyRange, Scan, ScanOptions } from '../key-value-store.ts'
import { type Command, type CommandContext, type CommandOption, callOptions } from './command.ts'
import { type DataEncoding, jsonField, showToken } from './data-encoding.ts'
import { ExitCode } from './exit-code.ts'
import { countOption, flagOption, rangeOption } from './option-values.ts'
import { formatCount, formatDuration } from './render.ts'
import { readWithLag } from './replica-lag.ts'
import { StatusLine } from './status-line.ts'
import { fitText, padEnd, textWidth } from './text-width.ts'

export const RANGE_OPTIONS: readonly CommandOption[] = [
  { flags: '-p, --prefix <text>', description: 'only keys that begin with this' },
  { flags: '--gte <key>', description: 'only this key and those after it' },
  { flags: '--gt <key>', description: 'only keys after this one' },
  { flags: '--lte <key>', description: 'only this key and those before it' },
  { flags: '--lt <key>', description: 'only keys before this one' },
]

/** A terminal is not flooded with millions of lines unless asked for them. */
const TERMINAL_LIMIT = 100
const PAGE_COUNT = 512
/** Counting reads every key of the range on the server. */
export const COUNT_TIMEOUT_MS = 600_000
/** How often a terminal is told that it goes on. */
const COUNT_NEWS_MS = 500

export const scanCommand: Command = {
  name: 'scan',
  aliases: ['list', 'ls'],
  summary: 'print the entries of a range, in key order',
  details:
    'Into a pipe or file each entry is a line: key, tab, value, both escaped where needed ' +
    `(for an exact copy use export). On a terminal at most ${TERMINAL_LIMIT} entries are shown, ` +
    'unless --limit says otherwise, and long values are cut to the width.',
  args: [],
  options: [
    ...RANGE_OPTIONS,
    { flags: '-r, --reverse', description: 'from the last key down' },
    {
      flags: '-n, --limit <count>',
      description: 'at most so many entries; 0 is no limit',
      standard: `${TERMINAL_LIMIT} on a terminal, else no limit`,
    },
    { flags: '-k, --keys-only', description: 'keys without values' },
    { flags: '--unordered', description: 'in the order of storage: cheaper for a whole store' },
  ],
  examples: [
    { line: 'kvcli scan', says: 'the first entries' },
    { line: 'kvcli scan --prefix user: --limit 10', says: 'the first ten users' },
    { line: 'kvcli scan --gte a --lt b --keys-only', says: "every key that begins with 'a'" },
    { line: 'kvcli scan --reverse --limit 1', says: 'the last entry' },
    { line: 'kvcli scan --json | head', says: 'one JSON object a line' },
  ],
  timed: true,
  async run(context) {
    const { options, output, session } = context
    const range = rangeOption(options, context.encoding)
    const asked = countOption(options, 'limit', { min: 0, max: Number.MAX_SAFE_INTEGER })
    const cut = asked === undefined && output.isTerminal && !output.json
    const limit = cut ? TERMINAL_LIMIT : (asked ?? 0)
    const client = await session.client(context.signal)
    // One more than is shown tells whether there is more.
    const scanOptions = scanOptionsOf(context, range, cut ? limit + 1 : limit)
    const keysOnly = flagOption(options, 'keysOnly')
    const pages = keysOnly
      ? keyPages(client.keys(scanOptions))
      : entryPages(client.entries(scanOptions))
    const { result: shown } = await readWithLag(context, 'this', () => {
      return printEntries(context, pages, limit === 0 ? Number.MAX_VALUE : limit)
    })
    if (shown.more) output.note(output.noteStyle.dim(`… and more: --limit ${limit * 10}, or 0`))
    else if (shown.count === 0) output.note(output.noteStyle.dim('(no entries)'))
    return ExitCode.ok
  },
}

function scanOptionsOf(context: CommandContext, range: KeyRange, limit: number): ScanOptions {
  return {
    ...range,
    ...callOptions(context),
    reverse: flagOption(context.options, 'reverse'),
    ...(limit === 0 ? {} : { limit }),
    order: flagOption(context.options, 'unordered') ? 'unordered' : 'ordered',
  }
}

/** A key, and its value unless only keys were asked for. */
type ShownEntry = readonly [key: Uint8Array, value: Uint8Array | undefined]

interface EntryPages {
  next(): Promise<readonly ShownEntry[]>
  close(): Promise<void>
}

function keyPages(scan: Scan<Uint8Array>): EntryPages {
  return {
    next: async () => (await scan.nextBatch(PAGE_COUNT)).map(key => [key, undefined]),
    close: () => scan.close(),
  }
}

function entryPages(scan: Scan<Entry>): EntryPages {
  return { next: () => scan.nextBatch(PAGE_COUNT), close: () => scan.close() }
}

async function printEntries(
  context: CommandContext,
  pages: EntryPages,
  limit: number,
): Promise<{ count: number; more: boolean }> {
  let count = 0
  try {
    for (;;) {
      const page = await pages.next()
      if (page.length === 0) return { count, more: false }
      const shown = page.slice(0, limit - count)
      count += shown.length
      await context.output.writeText(renderEntries(context, shown))
      if (shown.length < page.length) return { count, more: true }
    }
  } finally {
    await pages.close()
  }
}

function renderEntries(context: CommandContext, entries: readonly ShownEntry[]): string {
  const { output, encoding } = context
  if (output.json) {
    const lines = entries.map(([key, value]) =>
      JSON.stringify({
        ...jsonField('key', key, encoding),
        ...(value === undefined ? {} : jsonField('value', value, encoding)),
      }),
    )
    return lines.map(line => `${line}\n`).join('')
  }
  if (output.isTerminal) return renderColumns(context, entries)
  const lines = entries.map(([key, value]) => {
    const shown = showToken(key, encoding)
    return value === undefined ? `${shown}\n` : `${shown}\t${showToken(value, encoding)}\n`
  })
  return lines.join('')
}

/** Keys in colour, values in a column of their own, each entry on one line of the terminal. */
function renderColumns(context: CommandContext, entries: readonly ShownEntry[]): string {
  const { encoding } = context
  const { style, width } = context.output
  const rows = entries.map(([key, value]) => ({ key: showToken(key, encoding), value }))
  const keyWidth = Math.min(Math.floor(width / 2), Math.max(...rows.map(row => textWidth(row.key))))
  const lines = rows.map(({ key, value }) => {
    if (value === undefined) return `${style.key(key)}\n`
    const column = Math.max(keyWidth, textWidth(key)) + 2
    const room = Math.max(ROOM_MIN, width - column)
    return `${style.key(padEnd(key, column))}${showStart(value, room, encoding)}\n`
  })
  return lines.join('')
}

/** Columns that a value gets, even if it wraps because of a long key. */
const ROOM_MIN = 10
/** Of UTF-8. */
const CHARACTER_SIZE_MAX = 4

/** As much of the value as fits, which may be little of it. */
function showStart(value: Uint8Array, room: number, encoding: DataEncoding): string {
  const sizeMax = CHARACTER_SIZE_MAX * (room + 1)
  if (value.length <= sizeMax) return fitText(showToken(value, encoding), room)
  // Not within a character: its first bytes alone would be shown as escapes.
  let size = sizeMax
  while (size > sizeMax - CHARACTER_SIZE_MAX && isContinuation(value[size]!)) size--
  // What is cut off is more than the room holds, unless its characters take none.
  return fitText(`${showToken(value.subarray(0, size), encoding)}…`, room)
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80
}

export const countCommand: Command = {
  name: 'count',
  summary: 'count the keys of a range',
  details:
    'Exact: the server reads every key of the range, which takes as long as it takes: --timeout ' +
    'bounds all of it, 10 minutes unless told. In a cluster one replica of each partition is ' +
    'counted; if writes were still on their way to it, a note says so (replicasBehind of --json).',
  args: [],
  options: RANGE_OPTIONS,
  examples: [
    { line: 'kvcli count', says: 'all keys' },
    { line: 'kvcli count --prefix user:', says: 'those of users' },
  ],
  timed: true,
  async run(context) {
    const { output, session } = context
    const range = rangeOption(context.options, context.encoding)
    const client = await session.client(context.signal)
    const { result: count, replicasBehind } = await readWithLag(context, 'the count', () =>
      whileTelling(context, client.count(range, callOptions(context, COUNT_TIMEOUT_MS))),
    )
    const text = output.isTerminal ? formatCount(count) : String(count)
    await output.print({ count, replicasBehind }, () => text)
    return ExitCode.ok
  },
}

/** Shows on a terminal that it goes on: the server tells nothing before the end. */
async function whileTelling<T>({ session, output }: CommandContext, work: Promise<T>): Promise<T> {
  const { clock, stderr } = session.io
  if (stderr.isTTY !== true || output.json) return await work
  const line = new StatusLine(stderr, true)
  const beginMs = clock.monotonicMs()
  let cancel: CancelTimer
  const tell = (): void => {
    const tookMs = clock.monotonicMs() - beginMs
    if (tookMs > 0) line.show(`counting, ${formatDuration(tookMs)} so far`)
    cancel = clock.setTimer(COUNT_NEWS_MS, tell)
  }
  tell()
  try {
    return await work
  } finally {
    cancel!()
    line.clear()
  }
}
