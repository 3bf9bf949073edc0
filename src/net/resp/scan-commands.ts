/**
 * Commands about all keys: SCAN, KEYS, DBSIZE, RANDOMKEY, FLUSHDB, FLUSHALL. They read the store
 * itself, partition by partition, with turns for everybody else in between.
 */
import { AbortedError } from '../../errors.ts'
import type { HandlerScan, RequestHandler, ScanPage } from '../request-handler.ts'
import { syntaxError } from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import type { RunCall, RunCommand } from './command-table.ts'
import { Glob } from './glob.ts'
import { notAnInteger, parseInt64 } from './numbers.ts'
import { CommandError, OK, type Reply } from './reply.ts'
import type { RespRequest } from './resp-request.ts'

const SCAN_COUNT_DEFAULT = 10
/** Keys that one SCAN looks at, whatever COUNT says. */
const SCAN_COUNT_MAX = 4096
const PAGE_ENTRIES = 1024
const PAGE_BYTES = 256 * 1024
/** KEYS answers at most so many bytes of keys. */
const KEYS_BYTES_MAX = 32 * 1024 * 1024
/** RANDOMKEY looks at so many keys. */
const RANDOM_POOL = 64
const ALL = new Glob(Uint8Array.of(0x2a))

interface ScanArguments {
  readonly cursor: number
  readonly count: number
  readonly glob: Glob
  readonly type: string
}

/** Throws CommandError. */
function scanArguments(args: CommandArguments): ScanArguments {
  const cursor = cursorOf(args.text(1))
  let count = SCAN_COUNT_DEFAULT
  let glob = ALL
  let type = 'string'
  for (let index = 2; index < args.count; index += 2) {
    const word = args.word(index)
    const hasValue = index + 1 < args.count
    if (word === 'COUNT' && hasValue) {
      const given = parseInt64(args.at(index + 1))
      if (given === undefined) throw notAnInteger()
      if (given < 1) throw syntaxError()
      count = Math.min(Number(given), SCAN_COUNT_MAX)
    } else if (word === 'MATCH' && hasValue) glob = new Glob(args.at(index + 1).slice())
    else if (word === 'TYPE' && hasValue) type = args.text(index + 1).toLowerCase()
    else throw syntaxError()
  }
  return { cursor, count, glob, type }
}

function cursorOf(text: string): number {
  const value = /^\d{0,20}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(value) || value >= 2 ** 64) throw new CommandError('ERR invalid cursor')
  return value
}

async function scan({ args, context, door, request }: RunCall): Promise<Reply> {
  const { cursor, count, glob, type } = scanArguments(args)
  if (type !== 'string') return ['0', []]
  const place = cursor === 0 ? undefined : door.cursors.take(cursor)
  if (cursor !== 0 && place === undefined) {
    throw new CommandError(
      'ERR invalid cursor: it was given out too long ago, or by another server; begin with 0',
    )
  }
  const page = await readPage(context.handler, scanOf(glob, place), request, count)
  const next = page.done || page.cursor === undefined ? '0' : door.cursors.give(page.cursor)
  return [next, matching(page.keys, glob)]
}

function scanOf({ prefix }: Glob, cursor?: Uint8Array): HandlerScan {
  const range = prefix.length === 0 ? {} : { gte: prefix, ...below(prefix) }
  return { ...range, order: 'unordered', reverse: false, keysOnly: true, cursor }
}

/** The least key above all that begin with the prefix; none when there is no such key. */
function below(prefix: Uint8Array): { lt?: Uint8Array } {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  if (length === 0) return {}
  const lt = prefix.slice(0, length)
  lt[length - 1]! += 1
  return { lt }
}

function matching(keys: readonly Uint8Array[], glob: Glob): readonly Uint8Array[] {
  return glob.isPrefix ? keys : keys.filter(key => glob.matches(key))
}

async function readPage(
  handler: RequestHandler,
  wanted: HandlerScan,
  request: RespRequest,
  count: number,
): Promise<ScanPage> {
  const session = await handler.openScan(wanted, request)
  try {
    return await session.next(count, PAGE_BYTES)
  } finally {
    session.close()
  }
}

/** Gives all keys of the scan, page by page. */
async function eachPage(
  handler: RequestHandler,
  wanted: HandlerScan,
  request: RespRequest,
  visit: (keys: readonly Uint8Array[]) => Promise<void> | undefined,
): Promise<void> {
  const session = await handler.openScan(wanted, request)
  try {
    for (;;) {
      const page = await session.next(PAGE_ENTRIES, PAGE_BYTES)
      if (request.cancelled) throw new AbortedError('nobody waits for it any more')
      if (page.keys.length > 0) await visit(page.keys)
      if (page.done) return
    }
  } finally {
    session.close()
  }
}

async function keys({ args, context, session, request }: RunCall): Promise<Reply> {
  const glob = new Glob(args.at(1).slice())
  const found: Uint8Array[] = []
  // Charged, or a thousand connections that ask at once would have a thousand times the most.
  let charged = 0
  try {
    await eachPage(context.handler, scanOf(glob), request, page => {
      let bytes = 0
      for (const key of matching(page, glob)) {
        found.push(key)
        bytes += key.length + 16
      }
      if (charged + bytes > KEYS_BYTES_MAX) {
        throw new CommandError('ERR too many keys match for one reply: use SCAN')
      }
      if (!session.share.reserve(bytes)) {
        throw new CommandError('KV_OVERLOADED no memory for so many keys: use SCAN')
      }
      charged += bytes
      return undefined
    })
    return found
  } finally {
    if (!session.isDisposed) session.share.release(charged)
  }
}

/** Of the keys behind a random one in the order of scans, any. */
async function randomKey({ context, door, request }: RunCall): Promise<Reply> {
  const { handler } = context
  const start = door.random.bytes(8)
  const wanted = { order: 'ordered', reverse: false, keysOnly: true, cursor: undefined } as const
  for (const range of [{ gte: start }, { lt: start }]) {
    const page = await readPage(handler, { ...wanted, ...range }, request, RANDOM_POOL)
    if (page.keys.length > 0) return page.keys[door.random.below(page.keys.length)]!
  }
  return null
}

async function flush({ args, context, door, request }: RunCall): Promise<Reply> {
  const word = args.count > 1 ? args.word(1) : ''
  if (args.count > 2 || (word !== '' && word !== 'SYNC' && word !== 'ASYNC')) throw syntaxError()
  const { handler } = context
  request.isWrite = true
  door.dbSize.forget()
  await eachPage(handler, scanOf(ALL), request, async page => {
    await handler.batch(
      page.map(key => ({ type: 'del', key })),
      request,
    )
  })
  return OK
}

const generic = { group: 'generic', isAlone: true, flags: ['readonly'] } as const

export const SCAN_COMMANDS: readonly RunCommand[] = [
  {
    ...{ name: 'scan', arity: -2, since: '2.8.0', ...generic },
    summary: 'Some of the keys, and where to go on',
    run: scan,
  },
  {
    ...{ name: 'keys', arity: 2, since: '1.0.0', ...generic },
    summary: 'All keys that match a pattern',
    run: keys,
  },
  {
    ...{ name: 'randomkey', arity: 1, since: '1.0.0', ...generic },
    summary: 'Any key',
    run: randomKey,
  },
  {
    ...{ name: 'dbsize', arity: 1, since: '1.0.0', group: 'server', isAlone: true },
    flags: ['readonly', 'fast'],
    summary: 'The number of keys, by counting them',
    run: async ({ context, door, request }) =>
      await door.dbSize.count(context.clock, () => context.handler.count(scanOf(ALL), request)),
  },
  ...(['flushdb', 'flushall'] as const).map((name): RunCommand => {
    return {
      ...{ name, arity: -1, since: '1.0.0', group: 'server', isAlone: true, flags: ['write'] },
      summary: 'Deletes all keys, one after the other',
      run: flush,
    }
  }),
]
