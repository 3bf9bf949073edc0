/** slowlog: the operations of a node that took long, whichever door they came through. */
import { type Command, callOptions } from './command.ts'
import { jsonField, showToken } from './data-encoding.ts'
import { ExitCode } from './exit-code.ts'
import { countOption } from './option-values.ts'
import { formatCount, formatDuration, renderTable, type TableColumn } from './render.ts'

const COUNT_STANDARD = 20
/** That a node keeps. */
const COUNT_MAX = 256

/** What the server answers to the command `slowlog`; keys are base64. */
interface SlowAnswer {
  readonly node?: string
  readonly fromMs: number
  readonly total: number
  readonly operations: readonly {
    readonly sequence: number
    readonly atMs: number
    readonly tookMs: number
    readonly door: string
    readonly operation: string
    readonly key?: string
    readonly address: string
    readonly user: string
  }[]
}

export const slowlogCommand: Command = {
  name: 'slowlog',
  summary: 'list the operations of a node that took long',
  details:
    'The last ones, the newest first, through whichever door they came. Each node has its own; ' +
    'what counts as long is said by kvd serve --slow-operation. Of keys the first 64 bytes are ' +
    'kept, of values nothing.',
  args: [],
  options: [
    {
      flags: '-n, --count <count>',
      description: `at most so many, up to ${COUNT_MAX}`,
      standard: String(COUNT_STANDARD),
    },
  ],
  examples: [
    { line: 'kvcli slowlog', says: 'what took long of late?' },
    { line: 'kvcli slowlog -n 256 --json --url kv://10.0.0.7:7700', says: 'for programs' },
  ],
  async run(context) {
    const { output, session, options, encoding, signal } = context
    const bounds = { min: 1, max: COUNT_MAX }
    const count = countOption(options, 'count', bounds) ?? COUNT_STANDARD
    const client = await session.client(signal)
    const answer = await client.admin({ command: 'slowlog', count }, callOptions(context))
    const { fromMs, total, operations, node } = answer as unknown as SlowAnswer
    const rows = operations.map(({ key, ...rest }) => ({
      ...rest,
      bytes: key === undefined ? undefined : Buffer.from(key, 'base64'),
    }))
    const json = rows.map(({ bytes, ...rest }) => {
      return { ...rest, ...(bytes === undefined ? {} : jsonField('key', bytes, encoding)) }
    })
    await output.print({ node, fromMs, total, operations: json }, () => {
      const head = `${formatCount(total)} took ${formatDuration(fromMs)} or longer since the start`
      if (rows.length === 0) return head
      const cells = rows.map(({ atMs, tookMs, operation, bytes, door, address, user }) => [
        new Date(atMs).toISOString(),
        formatDuration(tookMs),
        operation,
        bytes === undefined ? '' : showToken(bytes, encoding),
        door,
        address,
        user,
      ])
      return `${head}\n${renderTable(COLUMNS, cells, output.style).trimEnd()}`
    })
    return ExitCode.ok
  },
}

const COLUMNS: readonly TableColumn[] = [
  { title: 'answered' },
  { title: 'took', align: 'right' },
  { title: 'operation' },
  { title: 'key' },
  { title: 'door' },
  { title: 'from' },
  { title: 'user' },
]
